/**
 * How the interpreter stops a cell, at orders of events that a real main thread gives only now and then. Run by
 * test_javascript_interrupts.py; its argument is the folder of the interpreter.
 */
'use strict';

const assert = require('node:assert/strict');
const { EventEmitter } = require('node:events');
const inspector = require('node:inspector');
const path = require('node:path');
const { test } = require('node:test');

/** An inspector that leaves it to the test when a termination is answered. */
class Session {
  static terminations = [];

  connectToMainThread() {}

  post(method, _parameters, answer) {
    assert.equal(method, 'Runtime.terminateExecution');
    Session.terminations.push(answer);
  }
}

/** The main thread's end of the port: answers the pings that `answers` is true for. */
class Port extends EventEmitter {
  pings = 0;

  constructor(answers) {
    super();
    this.answers = answers;
  }

  postMessage({ id }) {
    this.pings += 1;
    if (this.answers(this.pings)) setImmediate(() => this.emit('message', { id }));
  }
}

inspector.Session = Session;
const folder = process.argv.at(-1);
const { MainThread } = require(path.join(folder, 'main_thread.cjs'));
const { CellRunner } = require(path.join(folder, 'cell_runner.cjs'));

test('a main thread is stopped only when its termination is answered', async () => {
  const unanswered = 1;
  const enough = 4;
  let isAnswered = false;
  const port = new Port((ping) => {
    if (ping === enough) {
      isAnswered = true;
      Session.terminations[0](null, {});
    }
    return ping > unanswered;
  });
  await new MainThread(port, port).stop();
  assert.deepEqual([isAnswered, Session.terminations.length], [true, 1]);
});

test('a cell that ends by itself while it is stopped is over when nothing is on its way to stop it', async () => {
  const [evaluation, stopping] = [Promise.withResolvers(), Promise.withResolvers()];
  const main = { evaluate: () => evaluation.promise, stop: () => stopping.promise };
  const ended = [];
  const finish = (...given) => ended.push(given);
  const output = { epoch: 0, begin() {}, collect() {}, countInterrupt() {}, end() {}, finish };
  const runner = new CellRunner(main, output, { remember() {} });
  const cell = { channel: 1, language: 'javascript', source: '1', isInterrupted: false };
  const run = runner.run(cell);
  runner.interrupt(cell);
  evaluation.resolve(null);
  await new Promise(setImmediate);
  assert.deepEqual(ended, []);
  stopping.resolve();
  await run;
  assert.deepEqual(
    ended.map(([channel, error, { status }]) => [channel, error, status]),
    [[1, null, 'INTERRUPTED']],
  );
});
