/**
 * The control thread's view of the main thread: evaluates code there, stops it, and checks that it answers.
 */
'use strict';

const fs = require('node:fs');
const { Session } = require('node:inspector');
const { HELPER } = require('./cell_compiler.cjs');

const OBJECT_GROUP = 'cell';
const ANSWER_MILLISECONDS = 25; // a main thread that is not computing answers sooner
const BLOCKED_AFTER_ROUNDS = 6; // of up to twice ANSWER_MILLISECONDS each

class MainThread {
  #session = new Session();
  #port;
  #lastId = 0;
  #waiting = new Map();
  #termination = null;

  /**
   * @param {import('node:worker_threads').MessagePort} port  read by interpreter.cjs
   * @param {import('node:worker_threads').MessagePort} answers  written by it
   */
  constructor(port, answers) {
    this.#port = port;
    this.#session.connectToMainThread();
    answers.on('message', ({ id }) => {
      this.#waiting.get(id)?.();
      this.#waiting.delete(id);
    });
  }

  /** Sends a message. Resolves when the main thread's event loop has handled it. */
  request(message) {
    const id = (this.#lastId += 1);
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#port.postMessage({ ...message, id });
    });
  }

  /**
   * Evaluates a compiled cell to its end, including top-level awaits.
   *
   * @returns {Promise<object | null>} the inspector's exceptionDetails, or null
   */
  async evaluate(code) {
    const answer = await this.#post('Runtime.evaluate', {
      expression: code,
      replMode: true,
      awaitPromise: true,
      silent: true,
      objectGroup: OBJECT_GROUP,
    });
    return answer.exceptionDetails ?? null;
  }

  /** Describes a thrown object; null for the one that process.exit throws. */
  async describe(objectId) {
    const answer = await this.#post('Runtime.callFunctionOn', {
      objectId,
      functionDeclaration: `function () { 'use strict'; return ${HELPER}.describe(this); }`,
      returnByValue: true,
      silent: true,
    });
    return answer.result?.value ?? null;
  }

  /** Releases the objects that answers referred to, so that they can be collected. */
  release() {
    this.#session.post('Runtime.releaseObjectGroup', { objectGroup: OBJECT_GROUP });
  }

  /**
   * Terminates the running code. Resolves when the event loop turns again, which a blocking native call can delay. By
   * then no termination is pending. One that reached the next cell would leave it without an answer.
   */
  async stop() {
    for (let round = 1; ; round += 1) {
      const isTurning = await this.#answersWithin(ANSWER_MILLISECONDS);
      if (isTurning && !this.#termination) return;
      if (!isTurning) this.#terminate();
      await within(this.#termination, ANSWER_MILLISECONDS, null);
      if (round % BLOCKED_AFTER_ROUNDS === 0) interruptChildren();
    }
  }

  /** Sends one termination at a time. It is answered when it has hit something or found nothing to hit. */
  #terminate() {
    this.#termination ??= this.#post('Runtime.terminateExecution').then(() => {
      this.#termination = null;
    });
  }

  #answersWithin(milliseconds) {
    return within(this.request({ type: 'ping' }).then(() => true), milliseconds, false);
  }

  #post(method, parameters) {
    return new Promise((resolve) => {
      this.#session.post(method, parameters, (error, result) => {
        // A signal is ending the process. The supervisor sees that end.
        if (error?.message.includes('context was destroyed')) return;
        resolve(error ? { exceptionDetails: { text: error.message } } : result);
      });
    });
  }
}

/** Interrupts the process group, as a terminal does, so that a command in execSync ends too. */
function interruptChildren() {
  const afterName = fs.readFileSync('/proc/self/stat', 'latin1').split(') ').at(-1);
  const group = Number(afterName.split(' ')[2]);
  if (group === process.pid) process.kill(0, 'SIGINT'); // this process has a handler that does nothing
}

function within(promise, milliseconds, otherwise) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds, otherwise);
    promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

module.exports = { MainThread };
