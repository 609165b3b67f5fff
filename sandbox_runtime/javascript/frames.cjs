/**
 * Encodes and incrementally decodes the frames of the link, within bounds, like sandbox_link/frames.py.
 */
'use strict';

const FrameType = Object.freeze({ OPEN: 1, DATA: 2, EVENT: 3, CLOSE: 4, CANCEL: 5, WINDOW: 6 });
const Stream = Object.freeze({ BODY: 0, STDOUT: 1, STDERR: 2 });
const MAX_PAYLOAD = 1 << 20;
const HEADER_SIZE = 9;
const LENGTH_OF_TYPE_AND_CHANNEL = 5;

function header(type, channel, payloadSize, extra = 0) {
  const buffer = Buffer.allocUnsafe(HEADER_SIZE + extra);
  buffer.writeUInt32BE(LENGTH_OF_TYPE_AND_CHANNEL + payloadSize, 0);
  buffer.writeUInt8(type, 4);
  buffer.writeUInt32BE(channel, 5);
  return buffer;
}

/** Encodes an OPEN, EVENT or CLOSE frame as buffers. */
function encodeJson(type, channel, value) {
  const payload = Buffer.from(JSON.stringify(value));
  if (payload.length > MAX_PAYLOAD) throw new RangeError(`JSON of ${payload.length} bytes is over the limit`);
  return [header(type, channel, payload.length), payload];
}

/** Encodes any amount of data as DATA frames. Returns no buffer for no data. */
function encodeData(channel, stream, data) {
  const buffers = [];
  for (let start = 0; start < data.length; start += MAX_PAYLOAD - 1) {
    const part = data.subarray(start, start + MAX_PAYLOAD - 1);
    const head = header(FrameType.DATA, channel, part.length + 1, 1);
    head[HEADER_SIZE] = stream;
    buffers.push(head, part);
  }
  return buffers;
}

/** Decodes received bytes into frames. */
class FrameDecoder {
  #pending = Buffer.alloc(0);

  /** Adds received bytes and returns the complete frames as `{type, channel, payload}`. */
  feed(data) {
    let buffer = this.#pending.length ? Buffer.concat([this.#pending, data]) : data;
    const frames = [];
    while (buffer.length >= HEADER_SIZE) {
      const length = buffer.readUInt32BE(0);
      const size = length - LENGTH_OF_TYPE_AND_CHANNEL;
      if (size < 0 || size > MAX_PAYLOAD) throw new RangeError(`a frame of ${size} bytes is out of bounds`);
      if (buffer.length < 4 + length) break;
      const payload = buffer.subarray(HEADER_SIZE, 4 + length);
      frames.push({ type: buffer.readUInt8(4), channel: buffer.readUInt32BE(5), payload });
      buffer = buffer.subarray(4 + length);
    }
    this.#pending = buffer;
    return frames;
  }
}

module.exports = { FrameDecoder, FrameType, Stream, encodeData, encodeJson };
