// Goroutines, channels, timers, garbage collection; built static.
package main

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"time"
)

func worker(number int, in <-chan int, out chan<- [32]byte) {
	digest := sha256.Sum256([]byte{byte(number)})
	for step := range in {
		for i := 0; i < 4000; i++ {
			digest = sha256.Sum256(append(digest[:], byte(step)))
		}
		out <- digest
	}
	close(out)
}

func main() {
	var kept sync.Map
	ins, outs := make([]chan int, 20), make([]chan [32]byte, 20)
	for i := range ins {
		ins[i], outs[i] = make(chan int), make(chan [32]byte)
		go worker(i, ins[i], outs[i])
	}
	ticker := time.NewTicker(time.Millisecond)
	for step := 0; step < 60; step++ {
		for i := range ins {
			ins[i] <- step
		}
		var all []byte
		for i := range outs {
			digest := <-outs[i]
			all = append(all, digest[:]...)
		}
		kept.Store(step, make([]byte, 100000))
		<-ticker.C
		if step%10 == 0 {
			runtime.GC()
		}
		fmt.Printf("step %d %x\n", step, sha256.Sum256(all))
	}
	for i := range ins {
		close(ins[i])
	}
	fmt.Println("done", runtime.NumGoroutine() > 0)
}
