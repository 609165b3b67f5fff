/**
 * Sends the ring's content to the socket, as frames of the running cell's channel, in the order of printing.
 */
'use strict';

const { FrameType, Stream, encodeData, encodeJson } = require('./frames.cjs');
const { Kind, RingReader } = require('./ring.cjs');

const COALESCE_MILLISECONDS = 2; // a shorter cell costs one write
const BATCH = 1 << 20;

class Output {
  #socket;
  #reader;
  #tracebacks;
  #channel = null;
  #timer = null;
  #isStalled = false;
  #held = []; // frames to send with the next ones

  /** Called with the code when user code calls process.exit. */
  onExit = () => {};

  constructor(socket, shared, tracebacks) {
    this.#socket = socket;
    this.#reader = new RingReader(shared);
    this.#tracebacks = tracebacks;
    socket.on('drain', () => {
      this.#isStalled = false;
      this.#forward();
    });
  }

  /** Sends output to `channel` from now on, beginning with the output since the last cell. */
  begin(channel) {
    this.#channel = channel;
    this.#reader.setActive(true);
    this.#rearm();
  }

  /** Ends the cell: the main thread no longer waits for room in the ring. */
  end() {
    this.#reader.setActive(false);
  }

  /** The number of interrupts so far. */
  get epoch() {
    return this.#reader.epoch;
  }

  /** Handles the supervisor's answer to `synchronize`. */
  confirm() {
    this.#reader.confirm();
  }

  countInterrupt() {
    this.#reader.countInterrupt();
  }

  /** Takes everything from the ring, even if the receiver is slow. The ring's size bounds the amount. */
  collect() {
    this.#held.push(...this.#take(Infinity));
  }

  /** Sends the remaining output, an error if there is one, and CLOSE, in one write. */
  finish(channel, error, ok) {
    clearTimeout(this.#timer);
    this.#timer = null;
    const buffers = this.#channel === null ? [] : this.#take(Infinity);
    if (error) buffers.push(...encodeJson(FrameType.EVENT, channel, error));
    buffers.push(...encodeJson(FrameType.CLOSE, channel, { ok }));
    this.#channel = null;
    this.#send(buffers);
  }

  #rearm() {
    this.#reader.arm(() => {
      if (this.#channel === null) return;
      this.#timer ??= setTimeout(() => this.#forward(), COALESCE_MILLISECONDS);
    });
  }

  #forward() {
    clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#channel !== null && !this.#isStalled) {
      const buffers = this.#take(BATCH);
      if (!buffers.length) {
        this.#rearm();
        return;
      }
      this.#send(buffers);
    }
  }

  #send(buffers) {
    const all = [...this.#held, ...buffers];
    this.#held = [];
    if (all.length && !this.#socket.write(Buffer.concat(all))) this.#isStalled = true;
  }

  /** Takes records from the ring and encodes them. Consecutive output of one stream is merged. */
  #take(atLeast) {
    const buffers = [];
    let run = [];
    let runStream = null;
    const flush = () => {
      if (run.length) buffers.push(...encodeData(this.#channel, runStream, Buffer.concat(run)));
      run = [];
    };
    for (const [kind, data] of this.#reader.read(atLeast)) {
      const [stream, bytes] = this.#asData(kind, data);
      if (stream !== runStream) flush();
      runStream = stream;
      if (stream !== null) run.push(bytes);
      else if (kind === Kind.EVENT) buffers.push(...encodeJson(FrameType.EVENT, this.#channel, JSON.parse(data)));
      else if (kind === Kind.EXIT) this.onExit(Number(data.toString()));
      else if (kind === Kind.SYNCHRONIZE) buffers.push(...encodeJson(FrameType.EVENT, 0, { type: 'synchronize' }));
    }
    flush();
    return buffers;
  }

  #asData(kind, data) {
    if (kind === Kind.UNCAUGHT) {
      return [Stream.STDERR, Buffer.from(`${this.#tracebacks.lines(data.toString()).join('\n')}\n`)];
    }
    const streams = { [Kind.BODY]: Stream.BODY, [Kind.STDOUT]: Stream.STDOUT, [Kind.STDERR]: Stream.STDERR };
    return [streams[kind] ?? null, data];
  }
}

module.exports = { Output };
