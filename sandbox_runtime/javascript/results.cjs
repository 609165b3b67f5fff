/**
 * Sends results of a cell: the value of its last expression, and the values passed to `display`.
 */
'use strict';

const { JSON, RangeError, TypeError } = require('./globals.cjs');
const { buildBundle, encodeBundle, imageType } = require('./bundles.cjs');
const { encode } = require('./bytes.cjs');
const { Kind } = require('./ring.cjs');

const MAX_ID = 256;

/** Sends the value of a cell's last expression as a result, unless it is undefined. */
function sendResult(ring, value) {
  if (value === undefined) return;
  send(ring, buildBundle(value), { isMain: true });
}

function send(ring, parts, { isMain = false, displayId = '', isUpdate = false, late = 0 }) {
  const event = {
    type: 'result',
    late,
    is_main: isMain,
    display_id: displayId,
    is_update: isUpdate,
    parts: parts.map(([type, data]) => [type, data.length]),
  };
  const bodies = parts.map(([, data]) => [Kind.BODY, data]);
  ring.writeTogether([[Kind.EVENT, encode(JSON.stringify(event))], ...bodies]);
}

/**
 * The global `display`: shows a value, in order with printed text. With `raw`, the value is a bundle of MIME types and
 * contents. `displayId` names the output, so that `update` can replace it.
 */
function createDisplay(ring, origins) {
  function display(value, { raw = false, displayId = '', update = false } = {}) {
    const id = String(displayId);
    if (id.length > MAX_ID) throw new RangeError(`display: displayId has more than ${MAX_ID} characters`);
    if (raw && (value === null || typeof value !== 'object')) {
      throw new TypeError('display: with raw, the value must be an object of MIME types and contents');
    }
    send(ring, raw ? encodeBundle(value) : buildBundle(value), {
      displayId: id,
      isUpdate: Boolean(update),
      late: origins.lateCell(),
    });
  }
  const shortcut = (type) => (content, options) => display({ [type]: String(content) }, { ...options, raw: true });
  display.html = shortcut('text/html');
  display.markdown = shortcut('text/markdown');
  display.svg = shortcut('image/svg+xml');
  display.json = (value, options) => display({ 'application/json': JSON.stringify(value) }, { ...options, raw: true });
  display.image = (bytes, { type = imageType(bytes), ...options } = {}) => {
    if (!type) throw new TypeError('display.image: not a PNG, JPEG, GIF or WebP: pass its `type`');
    display({ [type]: bytes }, { ...options, raw: true });
  };
  return display;
}

module.exports = { createDisplay, sendResult };
