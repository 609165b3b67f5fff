/**
 * Carries output from the main thread to the control thread: a ring in shared memory with one writer and one reader.
 *
 * Only the control thread writes to the socket, so frames are never torn. One atomic store makes a record visible. Code
 * that is terminated while printing therefore loses at most its last record, and the order of the others is kept.
 *
 * A record: u8 kind, u32 size (little endian), bytes. LATE and UNCAUGHT begin with the number of the cell that the output
 * belongs to: u32, 0 for the running one. In LATE, a byte for the kind of the output follows.
 */
'use strict';

const { encode, encodeInto, join } = require('./bytes.cjs');
const { Buffer } = require('./globals.cjs');

const Kind = Object.freeze({ BODY: 0, STDOUT: 1, STDERR: 2, EVENT: 3, EXIT: 4, UNCAUGHT: 5, LATE: 6, SYNCHRONIZE: 7 });

const HEAD = 0; // bytes written, modulo 2^32
const TAIL = 1; // bytes read, modulo 2^32
const ARMED = 2; // 1 while the reader wants to be woken; only the reader changes it
const ACTIVE = 3; // number of the running cell, or 0; only the reader changes it
const EPOCH = 4; // interrupts so far; only the reader changes it
const SYNCHRONIZED = 5; // SYNCHRONIZE records whose forerunners the supervisor has read; only the reader changes it

const DATA_OFFSET = 64;
const CAPACITY = 4 << 20; // a power of two, to divide 2^32
const RECORD_HEADER = 5;
const MAX_PART = 256 << 10;
const LATE_LIMIT = 1 << 20; // output kept between cells
const SYNCHRONIZE_MILLISECONDS = 1000; // for the supervisor to read what was written
const FULL_POLL_MILLISECONDS = 50; // short enough to let an interrupt through

function createRing() {
  return new SharedArrayBuffer(DATA_OFFSET + CAPACITY);
}

/** The writer, on the main thread. */
class RingWriter {
  #state;
  #bytes;
  #dropped = 0;

  constructor(shared) {
    this.#state = new Int32Array(shared, 0, DATA_OFFSET / 4);
    this.#bytes = new Uint8Array(shared, DATA_OFFSET);
  }

  get isActive() {
    return this.cell !== 0;
  }

  /** The number of the running cell, or 0. */
  get cell() {
    return Atomics.load(this.#state, ACTIVE);
  }

  get epoch() {
    return Atomics.load(this.#state, EPOCH);
  }

  /** Writes output of any size. Waits for room while a cell runs; between cells it drops output over the limit. */
  write(kind, data) {
    for (let start = 0; start < data.length; start += MAX_PART) {
      this.writeTogether([[kind, data.subarray(start, start + MAX_PART)]]);
    }
  }

  /** Writes a text as output. Encodes it in its place in the ring, if it fits there in one piece. */
  writeText(kind, text) {
    const most = 3 * text.length; // UTF-8 has no more bytes
    const position = Atomics.load(this.#state, HEAD);
    const at = (position >>> 0) % CAPACITY;
    const start = at + RECORD_HEADER;
    if (most > MAX_PART || start + most > CAPACITY || !this.#waitForRoom(RECORD_HEADER + most)) {
      this.write(kind, encode(text));
      return;
    }
    const size = encodeInto(text, this.#bytes.subarray(start, start + most));
    if (!size) return;
    this.#bytes[at] = kind;
    for (let index = 0; index < 4; index += 1) this.#bytes[at + 1 + index] = size >>> (8 * index);
    this.#publish((position + RECORD_HEADER + size) | 0);
  }

  /** Writes output that belongs to an earlier cell. */
  writeLate(cell, kind, data) {
    const header = new Uint8Array(5);
    new DataView(header.buffer).setUint32(0, cell, true);
    header[4] = kind;
    for (let start = 0; start === 0 || start < data.length; start += MAX_PART) {
      const part = data.subarray(start, start + MAX_PART);
      this.writeTogether([[Kind.LATE, join([header, part])]]);
    }
  }

  /** Says how much output there was no room for before this cell. */
  reportDropped(cell) {
    if (!this.#dropped) return;
    const text = `[... ${this.#dropped} bytes of late output left out ...]\n`;
    this.#dropped = 0;
    this.writeLate(Math.max(cell - 1, 1), Kind.STDERR, encode(text));
  }

  /** Writes records so that either all become visible or none. Together they must fit into the ring. */
  writeTogether(records) {
    let size = 0;
    for (const [, data] of records) size += RECORD_HEADER + data.length;
    if (!this.#waitForRoom(size)) {
      for (const [, data] of records) this.#dropped += data.length;
      return;
    }
    let position = Atomics.load(this.#state, HEAD);
    const head = new Uint8Array(RECORD_HEADER);
    for (const [kind, data] of records) {
      head[0] = kind;
      new DataView(head.buffer).setUint32(1, data.length, true);
      position = this.#copy(position, head);
      position = this.#copy(position, data);
    }
    this.#publish(position);
  }

  #publish(position) {
    Atomics.store(this.#state, HEAD, position);
    if (Atomics.load(this.#state, ARMED) === 1) Atomics.notify(this.#state, HEAD);
  }

  /** Waits until the supervisor has read what was written, so that the output of a program that starts now follows it. */
  synchronize() {
    if (!this.isActive) return;
    const before = Atomics.load(this.#state, SYNCHRONIZED);
    this.writeTogether([[Kind.SYNCHRONIZE, new Uint8Array(0)]]);
    Atomics.wait(this.#state, SYNCHRONIZED, before, SYNCHRONIZE_MILLISECONDS);
  }

  #waitForRoom(size) {
    for (;;) {
      const tail = Atomics.load(this.#state, TAIL);
      const used = (Atomics.load(this.#state, HEAD) - tail) >>> 0;
      if (!this.isActive) return used + size <= LATE_LIMIT;
      if (CAPACITY - used >= size) return true;
      Atomics.wait(this.#state, TAIL, tail, FULL_POLL_MILLISECONDS);
    }
  }

  #copy(position, data) {
    const at = (position >>> 0) % CAPACITY;
    const room = CAPACITY - at;
    if (data.length <= room) {
      this.#bytes.set(data, at);
    } else {
      this.#bytes.set(data.subarray(0, room), at);
      this.#bytes.set(data.subarray(room), 0);
    }
    return (position + data.length) | 0;
  }
}

/** The reader, on the control thread. */
class RingReader {
  #state;
  #bytes;
  #waiting = false;

  constructor(shared) {
    this.#state = new Int32Array(shared, 0, DATA_OFFSET / 4);
    this.#bytes = Buffer.from(shared, DATA_OFFSET);
  }

  /** Sets the number of the running cell, 0 for none. */
  setCell(number) {
    Atomics.store(this.#state, ACTIVE, number);
    Atomics.notify(this.#state, TAIL);
  }

  get epoch() {
    return Atomics.load(this.#state, EPOCH);
  }

  countInterrupt() {
    Atomics.add(this.#state, EPOCH, 1);
  }

  /** Lets the writer go on that waits in `synchronize`. */
  confirm() {
    Atomics.add(this.#state, SYNCHRONIZED, 1);
    Atomics.notify(this.#state, SYNCHRONIZED);
  }

  /** Calls `wake` once there is something to read. Ignores a second call before that. */
  arm(wake) {
    if (this.#waiting) return;
    this.#waiting = true;
    Atomics.store(this.#state, ARMED, 1);
    const { value } = Atomics.waitAsync(this.#state, HEAD, Atomics.load(this.#state, TAIL));
    Promise.resolve(value).then(() => {
      this.#waiting = false;
      Atomics.store(this.#state, ARMED, 0);
      wake();
    });
  }

  /** Removes records until they have at least `atLeast` bytes or none is left. Returns each as `[kind, bytes]`. */
  read(atLeast) {
    const start = Atomics.load(this.#state, TAIL);
    const head = Atomics.load(this.#state, HEAD);
    const records = [];
    let position = start;
    while (position !== head && ((position - start) >>> 0) < atLeast) {
      const header = this.#copy(position, RECORD_HEADER);
      const size = header.readUInt32LE(1);
      records.push([header[0], this.#copy(position + RECORD_HEADER, size)]);
      position = (position + RECORD_HEADER + size) | 0;
    }
    Atomics.store(this.#state, TAIL, position);
    Atomics.notify(this.#state, TAIL);
    return records;
  }

  #copy(position, size) {
    const copy = Buffer.allocUnsafe(size);
    const at = (position >>> 0) % CAPACITY;
    const taken = this.#bytes.copy(copy, 0, at, Math.min(at + size, CAPACITY));
    if (taken < size) this.#bytes.copy(copy, taken, 0, size - taken);
    return copy;
  }
}

module.exports = { Kind, RingReader, RingWriter, createRing };
