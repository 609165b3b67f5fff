/**
 * Entry point of the JavaScript interpreter.
 */
'use strict';

const { requireInRealm } = require('./realm.cjs');

requireInRealm('./interpreter.cjs');
