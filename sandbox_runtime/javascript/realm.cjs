/**
 * Loads the modules that run beside user code into a realm of their own: their arrays, strings, maps and promises have
 * other prototypes than those that user code can reach and change. globals.cjs and user_side.cjs remain in the user's
 * realm. What Node's modules export is copied, as it is before user code runs.
 */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');
const { process } = require('./globals.cjs');

const USERS_REALM = { __proto__: null, './globals.cjs': true, './user_side.cjs': true };
const context = vm.createContext(vm.constants.DONT_CONTEXTIFY);
const loaded = { __proto__: null };
const { compileFunction } = vm;
const builtin = process.getBuiltinModule.bind(process);
const copy = compileFunction(
  'return (module) => Object.freeze(Object.defineProperties({}, Object.getOwnPropertyDescriptors(module)))',
  [],
  { parsingContext: context },
)();

/** The `require` of modules in the realm. Uses no method that user code could replace. */
function requireInRealm(name) {
  return (loaded[name] ??= USERS_REALM[name] ? require(name) : name[0] === '.' ? load(name) : copy(builtin(name)));
}

function load(name) {
  const filename = path.join(__dirname, name);
  const module = { exports: {} };
  const parameters = ['module', 'require', '__dirname'];
  const options = { filename, parsingContext: context };
  compileFunction(fs.readFileSync(filename, 'utf8'), parameters, options)(module, requireInRealm, __dirname);
  return module.exports;
}

module.exports = { requireInRealm };
