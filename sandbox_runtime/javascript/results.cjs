/**
 * What a cell shows: the value of its last expression, and what it gives to `display`.
 */
'use strict';

const { buildBundle, encodeBundle, imageType } = require('./bundles.cjs');
const { Kind } = require('./ring.cjs');

const LONGEST_ID = 256;

/** Sends the value of a cell's last expression as a result, unless it is undefined. */
function sendResult(ring, value) {
  if (value === undefined) return;
  send(ring, buildBundle(value), { isMain: true });
}

function send(ring, parts, { isMain = false, displayId = '', isUpdate = false }) {
  const event = {
    type: 'result',
    is_main: isMain,
    display_id: displayId,
    is_update: isUpdate,
    parts: parts.map(([type, data]) => [type, data.length]),
  };
  const bodies = parts.map(([, data]) => [Kind.BODY, data]);
  ring.writeTogether([[Kind.EVENT, Buffer.from(JSON.stringify(event))], ...bodies]);
}

/**
 * The global `display`: shows a value now, in order with what is printed. `raw` takes the value for a bundle of MIME types
 * and contents; `displayId` names what is shown, so that `update` can change it.
 */
function createDisplay(ring) {
  function display(value, { raw = false, displayId = '', update = false } = {}) {
    const id = String(displayId);
    if (id.length > LONGEST_ID) throw new RangeError(`display: displayId has more than ${LONGEST_ID} characters`);
    if (raw && (value === null || typeof value !== 'object')) {
      throw new TypeError('display: with raw, the value is an object of MIME types and contents');
    }
    send(ring, raw ? encodeBundle(value) : buildBundle(value), { displayId: id, isUpdate: Boolean(update) });
  }
  const shortcut = (type) => (content, options) => display({ [type]: String(content) }, { ...options, raw: true });
  display.html = shortcut('text/html');
  display.markdown = shortcut('text/markdown');
  display.svg = shortcut('image/svg+xml');
  display.json = (value, options) => display({ 'application/json': JSON.stringify(value) }, { ...options, raw: true });
  display.image = (bytes, { type = imageType(bytes), ...options } = {}) => {
    if (!type) throw new TypeError('display.image: no PNG, JPEG, GIF or WebP: name its `type`');
    display({ [type]: bytes }, { ...options, raw: true });
  };
  return display;
}

module.exports = { createDisplay, sendResult };
