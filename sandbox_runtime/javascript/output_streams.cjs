/**
 * process.stdout, process.stderr and console of user code. All write to the ring, so their order is kept.
 */
'use strict';

const { Console } = require('node:console');
const { Writable } = require('node:stream');
const { encode, viewOf } = require('./bytes.cjs');
const { TypeError, console, process } = require('./globals.cjs');
const { Kind } = require('./ring.cjs');

const { nextTick } = process;

/**
 * Writes immediately and keeps no state. An ordinary Writable would wait forever for the callback of a terminated write, and
 * everything printed later would be lost.
 */
class OutputStream extends Writable {
  #ring;
  #origins;
  #kind;

  constructor(ring, origins, kind, fd) {
    super({ decodeStrings: false, autoDestroy: false, emitClose: false });
    this.#ring = ring;
    this.#origins = origins;
    this.#kind = kind;
    this.fd = fd;
    this._isStdio = true;
    this._type = 'pipe';
  }

  write(chunk, encoding, callback) {
    if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
    if (typeof chunk !== 'string' && !ArrayBuffer.isView(chunk)) {
      throw Object.assign(new TypeError('The "chunk" argument must be a string, Buffer, TypedArray or DataView'), {
        code: 'ERR_INVALID_ARG_TYPE',
      });
    }
    const late = this.#origins.lateCell();
    if (late) this.#ring.writeLate(late, this.#kind, asBytes(chunk, encoding));
    else if (typeof chunk === 'string' && encoding === undefined) this.#ring.writeText(this.#kind, chunk);
    else this.#ring.write(this.#kind, asBytes(chunk, encoding));
    if (typeof callback === 'function') nextTick(callback);
    return true;
  }

  /** Keeps the stream open: it ends with the process. */
  end(chunk, encoding, callback) {
    if (typeof chunk === 'function') [chunk, callback] = [undefined, chunk];
    else if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
    if (chunk !== undefined && chunk !== null) this.write(chunk, encoding);
    nextTick(() => {
      this.emit('finish'); // a pipeline into this stream waits for it
      if (typeof callback === 'function') callback();
    });
    return this;
  }

  destroy() {
    return this;
  }
}

function asBytes(chunk, encoding) {
  return typeof chunk === 'string' ? encode(chunk, encoding) : viewOf(chunk);
}

/** Installs the streams in `process`, and a `console` on top of them. */
function installOutput(ring, origins) {
  const streams = {
    stdout: new OutputStream(ring, origins, Kind.STDOUT, 1),
    stderr: new OutputStream(ring, origins, Kind.STDERR, 2),
  };
  for (const [name, stream] of Object.entries(streams)) {
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream });
  }
  // The inspector keeps the arguments of the engine's own console methods. These do not use it.
  const fresh = new Console({ ...streams, ignoreErrors: false });
  for (const name of Object.keys(console)) {
    if (typeof fresh[name] === 'function' && typeof console[name] === 'function') console[name] = fresh[name];
  }
}

module.exports = { installOutput };
