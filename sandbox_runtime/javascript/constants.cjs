/**
 * Finds assignments to constants and makes them throw, as the engine would. A `const` of the engine cannot be declared
 * again, so compiled cells use `let`. Pure.
 */
'use strict';

const { boundNames, childrenOf, isUsing, walk } = require('./syntax_tree.cjs');

const FUNCTION = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;
const SCOPE = /Function|^(BlockStatement|StaticBlock|CatchClause|SwitchStatement|For(In|Of)?Statement|ClassExpression)$/;
/** Operators that assign depending on the current value. */
const CONDITIONAL = new Set(['??=', '||=', '&&=']);

/** Returns the names that a cell's top level declares, with true for constants. */
function topLevelNames(tree) {
  const found = new Map();
  walk(tree, (node, _, isNested) => {
    if (isNested || node.type !== 'VariableDeclaration' || node.kind !== 'var') return;
    for (const { id } of node.declarations) boundNames(id).forEach((name) => found.set(name, false));
  });
  for (const statement of tree.body) {
    const node = statement.declaration ?? statement;
    for (const { id } of node.declarations ?? []) {
      for (const name of boundNames(id)) found.set(name, node.kind === 'const' || isUsing(node));
    }
    if (node.id) found.set(node.id.name, false);
    for (const { local } of statement.type === 'ImportDeclaration' ? statement.specifiers : []) found.set(local.name, false);
  }
  return found;
}

/**
 * Replaces the target of each assignment to a constant.
 *
 * @param {object} tree
 * @param {Set<string>} constants
 * @param {import('./edits.cjs').Edits} edits
 * @param {string} refusal  an expression that throws when something is assigned to it
 */
function guardConstants(tree, constants, edits, refusal) {
  if (!constants.size) return;
  const hidden = findHidden(tree, constants);
  const stack = [[tree, []]];
  while (stack.length) {
    const [node, outer] = stack.pop();
    const scopes = hidden.has(node) ? [...outer, hidden.get(node)] : outer;
    for (const { name, start, end, isShorthand } of targetsOf(node)) {
      if (!constants.has(name) || scopes.some((names) => names.has(name))) continue;
      edits.replace(start, end, isShorthand ? `${name}: ${refusal}` : refusal);
    }
    for (const child of childrenOf(node)) stack.push([child, scopes]);
  }
}

/** Returns, for each scope inside the cell, those of `names` that it declares itself. */
function findHidden(tree, names) {
  const hidden = new Map();
  const hide = (scope, found) => {
    for (const name of found) {
      if (!names.has(name) || !scope) continue;
      if (!hidden.has(scope)) hidden.set(scope, new Set());
      hidden.get(scope).add(name);
    }
  };
  const stack = [[tree, null, null]];
  while (stack.length) {
    const [node, outer, outerFunction] = stack.pop();
    const isFunction = FUNCTION.test(node.type);
    const scope = SCOPE.test(node.type) ? node : outer;
    if (node.type === 'VariableDeclaration') {
      hide(node.kind === 'var' ? outerFunction : outer, node.declarations.flatMap(({ id }) => boundNames(id)));
    }
    if (node.type.endsWith('Declaration') && node.id) hide(outer, [node.id.name]);
    else if (node.id && scope === node) hide(node, [node.id.name]);
    if (isFunction) hide(node, node.params.flatMap(boundNames));
    if (node.type === 'CatchClause') hide(node, boundNames(node.param));
    for (const child of childrenOf(node)) stack.push([child, scope, isFunction ? node : outerFunction]);
  }
  return hidden;
}

/** Returns the names that a node assigns to, with their positions. */
function targetsOf(node) {
  if (node.type === 'AssignmentExpression') return CONDITIONAL.has(node.operator) ? [] : namesIn(node.left);
  if (node.type === 'UpdateExpression') return namesIn(node.argument);
  const isLoop = node.type === 'ForInStatement' || node.type === 'ForOfStatement';
  return isLoop && node.left.type !== 'VariableDeclaration' ? namesIn(node.left) : [];
}

function namesIn(pattern, isShorthand = false) {
  switch (pattern?.type) {
    case 'Identifier':
      return [{ name: pattern.name, start: pattern.start, end: pattern.end, isShorthand }];
    case 'ObjectPattern':
      return pattern.properties.flatMap((property) => namesIn(property.value ?? property.argument, property.shorthand));
    case 'ArrayPattern':
      return pattern.elements.flatMap((element) => namesIn(element));
    case 'AssignmentPattern':
      return namesIn(pattern.left, isShorthand);
    case 'RestElement':
      return namesIn(pattern.argument);
    default:
      return [];
  }
}

module.exports = { guardConstants, topLevelNames };
