/**
 * The control thread. It owns the socket to the supervisor, receives cells and interrupts, and passes cells to the
 * runner one by one. It answers even if user code blocks the main thread.
 */
'use strict';

const net = require('node:net');
const { parentPort, workerData } = require('node:worker_threads');
const { compileCell } = require('./cell_compiler.cjs');
const { CellRunner, EXTENSIONS } = require('./cell_runner.cjs');
const { Compiler } = require('./compiler.cjs');
const { FrameDecoder, FrameType, Stream, encodeJson } = require('./frames.cjs');
const { MainThread } = require('./main_thread.cjs');
const { Output } = require('./output.cjs');
const { Tracebacks } = require('./tracebacks.cjs');

const TYPESCRIPT_DELAY_MILLISECONDS = 20;

class Control {
  #socket;
  #main = new MainThread(parentPort, workerData.traces);
  #runner;
  #cells = new Map(); // by channel: the cells that have not ended, in order of arrival
  #incoming = new Map(); // by channel: the cells whose code is incomplete
  #work;
  #output;

  constructor({ controlFd: fd, shared, traces, compilers }) {
    this.#socket = new net.Socket({ fd, readable: true, writable: true });
    const tracebacks = new Tracebacks(traces);
    const output = new Output(this.#socket, shared, tracebacks);
    const compiler = new Compiler(...compilers);
    const translate = (text) => compiler.compile({ ...text, folder: process.cwd() });
    this.#runner = new CellRunner(this.#main, output, tracebacks, translate);
    this.#output = output;
    output.onExit = (code) => this.#runner.exit(code);
    this.#work = this.#warmUp();
    const decoder = new FrameDecoder();
    this.#socket.on('data', (data) => decoder.feed(data).forEach((frame) => this.#receive(frame)));
    // Without the supervisor the process has no purpose, and the main thread may be in an endless loop.
    this.#socket.on('close', () => process.kill(process.pid, 'SIGKILL'));
    this.#socket.on('error', () => {}); // `close` follows
  }

  /**
   * Runs one cell of each language, so that the user's first cell need not load everything. TypeScript takes longest, so
   * `ready`, and a cell that arrives with it, go first.
   */
  async #warmUp() {
    const names = { known: new Map(), constants: new Set(), epoch: 0, count: 0 };
    const { code } = compileCell({ source: 'await 1', language: 'javascript', fileName: 'warm-up.js', ...names });
    await this.#main.evaluate(code.replace('.result(', '.isStale(0,'));
    const typed = { source: '1 as any', language: 'typescript', fileName: 'warm-up.ts', ...names };
    setTimeout(() => compileCell(typed), TYPESCRIPT_DELAY_MILLISECONDS);
  }

  /** Runs jobs in order of arrival. */
  #enqueue(job) {
    this.#work = this.#work.then(job);
  }

  #receive({ type, channel, payload }) {
    if (type === FrameType.OPEN) this.#open(channel, JSON.parse(payload));
    else if (type === FrameType.DATA) this.#data(channel, payload);
    else if (type === FrameType.EVENT && channel === 0) this.#handle(JSON.parse(payload));
  }

  #handle({ type }) {
    if (type === 'interrupt') this.#interrupt();
    else if (type === 'synchronized') this.#output.confirm();
  }

  /**
   * Interrupts the oldest cell that has not ended, which is the one that the supervisor considers running. Here it may not
   * have begun yet.
   */
  #interrupt() {
    const [cell] = this.#cells.values();
    if (cell) this.#runner.interrupt(cell);
  }

  #open(channel, message) {
    if (message.op === 'init') {
      this.#enqueue(() => this.#initialize(message));
    } else if (message.op === 'execute' && Object.hasOwn(EXTENSIONS, message.language)) {
      const { language, code_bytes: missing, execution_count: count } = message;
      const cell = { channel, language, count, source: '', isInterrupted: false };
      this.#cells.set(channel, cell);
      this.#incoming.set(channel, { cell, missing, parts: [] });
      this.#startIfComplete(channel);
    } else {
      const error = { code: 'UNIMPLEMENTED', reason: 'NOT_IMPLEMENTED', message: 'no such operation', field: 'op' };
      this.#socket.write(Buffer.concat(encodeJson(FrameType.CLOSE, channel, { error })));
    }
  }

  async #initialize({ env = {}, cwd = '' }) {
    await this.#main.request({ type: 'init', env, cwd });
    this.#socket.write(Buffer.concat(encodeJson(FrameType.EVENT, 0, { type: 'ready' })));
  }

  #data(channel, payload) {
    const incoming = this.#incoming.get(channel);
    if (!incoming || payload[0] !== Stream.BODY) return;
    incoming.parts.push(Buffer.from(payload.subarray(1)));
    incoming.missing -= payload.length - 1;
    this.#startIfComplete(channel);
  }

  #startIfComplete(channel) {
    const { cell, missing, parts } = this.#incoming.get(channel);
    if (missing > 0) return;
    this.#incoming.delete(channel);
    cell.source = Buffer.concat(parts).toString();
    this.#enqueue(async () => {
      await this.#runner.run(cell);
      this.#cells.delete(channel);
    });
  }
}

new Control(workerData);
