/**
 * Sends the ring's content to the socket, as frames of the running cell's channel, in the order of printing.
 */
'use strict';

const { FrameType, Stream, encodeData, encodeJson } = require('./frames.cjs');
const { LateMarks } = require('./late_marks.cjs');
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
  #marks = new LateMarks();

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

  /** Sends the output of the cell `number` to `channel` from now on, beginning with the output since the last cell. */
  begin(channel, number) {
    this.#channel = channel;
    this.#marks = new LateMarks();
    this.#reader.setCell(number);
    this.#rearm();
  }

  /** Ends the cell: the main thread no longer waits for room in the ring. */
  end() {
    this.#reader.setCell(0);
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
    buffers.push(...this.#marked(0, Stream.STDOUT));
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
      const [stream, bytes, late] = this.#asData(kind, data);
      if (stream !== runStream) flush();
      runStream = stream;
      if (stream === Stream.BODY) {
        run.push(bytes);
      } else if (stream !== null) {
        const lines = late || this.#marks.isOpen ? this.#marks.switch(late, stream) : [];
        for (const [marked, line] of lines) {
          flush();
          buffers.push(...encodeData(this.#channel, marked, line));
        }
        this.#marks.note(stream, bytes);
        run.push(bytes);
      } else if (kind === Kind.EVENT) {
        const { late: cell = 0, ...event } = JSON.parse(data);
        buffers.push(...this.#marked(cell, Stream.STDOUT), ...encodeJson(FrameType.EVENT, this.#channel, event));
      } else if (kind === Kind.EXIT) {
        this.onExit(Number(data.toString()));
      } else if (kind === Kind.SYNCHRONIZE) {
        buffers.push(...encodeJson(FrameType.EVENT, 0, { type: 'synchronize' }));
      }
    }
    flush();
    return buffers;
  }

  /** Encodes the lines that mark the beginning or end of late output. */
  #marked(cell, stream) {
    return this.#marks.switch(cell, stream).flatMap(([marked, line]) => encodeData(this.#channel, marked, line));
  }

  /** Returns the stream of a record, its bytes, and the cell that they belong to: 0 for the running one. */
  #asData(kind, data) {
    const streams = { [Kind.BODY]: Stream.BODY, [Kind.STDOUT]: Stream.STDOUT, [Kind.STDERR]: Stream.STDERR };
    if (kind === Kind.UNCAUGHT) {
      const text = `${this.#tracebacks.lines(data.subarray(4).toString()).join('\n')}\n`;
      return [Stream.STDERR, Buffer.from(text), data.readUInt32LE(0)];
    }
    if (kind === Kind.LATE) return [streams[data[4]], data.subarray(5), data.readUInt32LE(0)];
    return [streams[kind] ?? null, data, 0];
  }
}

module.exports = { Output };
