// Target of the kill test with a runtime that has stacks of its own: goroutines that compute, sleep, send
// through channels and pipes, while the garbage collector and its preemption signals are busy.
// Shows what it does in the status file os.Args[1] (status.h).
package main

import (
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

type status struct {
	ready      uint64
	progress   [16]uint64
	signals    uint64
	epollEintr uint64
	failure    [256]byte
}

var shown *status
var failed int32

func fail(format string, values ...interface{}) {
	if atomic.CompareAndSwapInt32(&failed, 0, 1) {
		copy(shown.failure[:255], fmt.Sprintf(format, values...))
	}
}

func advance(who int) { atomic.AddUint64(&shown.progress[who], 1) }

func computes(who int) {
	data := make([]byte, 65536)
	for i := range data {
		data[i] = byte(i * (who + 3))
	}
	expected := crc32.ChecksumIEEE(data)
	for {
		if crc32.ChecksumIEEE(data) != expected {
			fail("a checksum is wrong")
		}
		advance(who)
		if who == 1 { // garbage
			kept := make([][]byte, 0)
			for i := 0; i < 20; i++ {
				kept = append(kept, make([]byte, 1000*i+1))
			}
			if len(kept) != 20 {
				fail("a slice is wrong")
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func sleeps() {
	for {
		begin := time.Now()
		time.Sleep(3 * time.Millisecond)
		if time.Since(begin) < 3*time.Millisecond {
			fail("a sleep was short")
		}
		advance(2)
	}
}

func sends(channel chan uint64) {
	for i := uint64(0); ; i++ {
		channel <- i
		advance(3)
	}
}

func receives(channel chan uint64) {
	for expected := uint64(0); ; expected++ {
		if got := <-channel; got != expected {
			fail("received %d instead of %d", got, expected)
		}
		if expected%64 == 0 {
			time.Sleep(time.Millisecond)
		}
		advance(4)
	}
}

func pipes() {
	reader, writer, err := os.Pipe()
	if err != nil {
		fail("pipe: %v", err)
		return
	}
	go func() {
		for i := byte(0); ; i++ {
			if _, err := writer.Write([]byte{i}); err != nil {
				fail("write: %v", err)
			}
			time.Sleep(2 * time.Millisecond)
			advance(5)
		}
	}()
	buffer := make([]byte, 1)
	for i := byte(0); ; i++ {
		if _, err := reader.Read(buffer); err != nil || buffer[0] != i {
			fail("read %d instead of %d: %v", buffer[0], i, err)
		}
		advance(6)
	}
}

// recurses makes a goroutine's stack grow and shrink.
func recurses(depth int) int {
	var room [64]int
	room[depth%64] = depth
	if depth == 0 {
		return room[0]
	}
	return recurses(depth-1) + room[depth%64]
}

func main() {
	file, err := os.OpenFile(os.Args[1], os.O_RDWR|os.O_CREATE, 0600)
	if err != nil {
		os.Exit(2)
	}
	file.Truncate(int64(unsafe.Sizeof(status{})))
	memory, err := syscall.Mmap(int(file.Fd()), 0, int(unsafe.Sizeof(status{})),
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		os.Exit(2)
	}
	file.Close() // before the garbage collector does it at a moment of its choice
	shown = (*status)(unsafe.Pointer(&memory[0]))
	runtime.GOMAXPROCS(3)
	channel := make(chan uint64)
	go computes(0)
	go computes(1)
	go sleeps()
	go sends(channel)
	go receives(channel)
	go pipes()
	time.Sleep(50 * time.Millisecond)
	atomic.StoreUint64(&shown.ready, 1)
	for {
		if recurses(200) != 200*201/2 {
			fail("a recursion is wrong")
		}
		time.Sleep(2 * time.Millisecond)
		advance(7)
	}
}
