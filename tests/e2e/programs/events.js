// Timers, promises, the thread pool (pbkdf2), a buffer outside the heap, a compiled function.
const crypto = require("crypto");
const big = Buffer.alloc(8 << 20, "abc");
const map = new Map();
let value = 1;
function step(number) {
  for (let i = 0; i < 200000; i++) value = (Math.imul(value, 1664525) + 1013904223) >>> 0;
  for (let i = 0; i < 500; i++) map.set("key" + ((value + i * 7) % 9973), { number, i });
  big.writeUInt32LE(value, (number * 4099) % (big.length - 4));
  crypto.pbkdf2("password" + number, "salt", 2000, 32, "sha256", (error, key) => {
    if (error) throw error;
    console.log("step", number, value, map.size, key.toString("hex"));
    if (number < 59) setTimeout(step, 5, number + 1);
    else console.log(crypto.createHash("sha256").update(big).digest("hex"), JSON.stringify([...map]).length);
  });
}
setTimeout(step, 1, 0);
