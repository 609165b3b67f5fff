/**
 * Prints the globals that a module takes from the engine when it runs, and not from globals.cjs: a cell may have declared
 * other things under these names. Run by test_javascript_names.py; its arguments are files.
 */
'use strict';

const fs = require('node:fs');
const vm = require('node:vm');
const acorn = require('internal/deps/acorn/acorn/dist/acorn');

// A module in the runtime's own realm (realm.cjs) has the engine's globals, out of reach of user code, and none of Node's.
const isRealm = process.argv[2] === '--realm';
const engine = new Set(isRealm ? vm.runInNewContext('Object.getOwnPropertyNames(globalThis)') : ['undefined']);
const GLOBALS = new Set(Object.getOwnPropertyNames(globalThis).filter((name) => !engine.has(name)));

function bind(pattern, names) {
  if (pattern?.type === 'Identifier') names.add(pattern.name);
  for (const part of pattern?.properties ?? pattern?.elements ?? []) bind(part?.value ?? part?.argument ?? part, names);
  if (pattern?.type === 'AssignmentPattern') bind(pattern.left, names);
}

/** Returns false for the names of properties. */
function isReference(parent, key) {
  if (parent.computed) return true;
  return !(key === 'property' || (key === 'key' && !parent.shorthand));
}

function freeNames(file) {
  const tree = acorn.parse(fs.readFileSync(file, 'utf8'), { ecmaVersion: 'latest', locations: true });
  const declared = new Set();
  const used = new Map();
  const visit = (node, parent, key) => {
    if (node.type === 'VariableDeclarator') bind(node.id, declared);
    if (/Function|ClassDeclaration/.test(node.type)) [node.id, ...(node.params ?? [])].forEach((item) => bind(item, declared));
    if (node.type === 'CatchClause') bind(node.param, declared);
    if (node.type === 'Identifier' && GLOBALS.has(node.name) && isReference(parent, key)) used.set(node.name, node.loc.start.line);
    for (const [name, value] of Object.entries(node)) {
      for (const child of [value].flat()) if (typeof child?.type === 'string') visit(child, node, name);
    }
  };
  visit(tree, {}, '');
  return [...used].filter(([name]) => !declared.has(name));
}

for (const file of process.argv.slice(isRealm ? 3 : 2)) {
  for (const [name, line] of freeNames(file)) console.log(`${file}:${line}: ${name}`);
}
