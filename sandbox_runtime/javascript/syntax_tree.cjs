/**
 * Walks a syntax tree and finds the names that declarations bind. Pure.
 */
'use strict';

const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);
/** Nodes with their own `var` scope and their own `await`. */
const isScope = (node) =>
  FUNCTIONS.has(node.type) || node.type === 'StaticBlock' || node.type === 'PropertyDefinition';

/** Calls `visit(node, parent, isNested)` for each node, parents first. `isNested`: inside a function or class body. */
function walk(root, visit) {
  const stack = [[root, null, false]];
  while (stack.length) {
    const [node, parent, isNested] = stack.pop();
    visit(node, parent, isNested);
    const inside = isNested || isScope(node);
    for (const child of childrenOf(node).reverse()) stack.push([child, node, inside]);
  }
}

/** Returns the children of a node in order. */
function childrenOf(node) {
  const children = [];
  for (const key in node) {
    const value = node[key];
    if (Array.isArray(value)) children.push(...value.filter((item) => typeof item?.type === 'string'));
    else if (typeof value?.type === 'string') children.push(value);
  }
  return children;
}

/** Returns the names that a binding pattern binds. */
function boundNames(pattern) {
  switch (pattern?.type) {
    case 'Identifier':
      return [pattern.name];
    case 'ObjectPattern':
      return pattern.properties.flatMap((property) => boundNames(property.value ?? property.argument));
    case 'ArrayPattern':
      return pattern.elements.flatMap((element) => boundNames(element));
    case 'AssignmentPattern':
      return boundNames(pattern.left);
    case 'RestElement':
      return boundNames(pattern.argument);
    default:
      return [];
  }
}

/** Returns true for a declaration with `using` or `await using`. */
function isUsing({ type, kind }) {
  return type === 'VariableDeclaration' && kind.endsWith('using');
}

module.exports = { boundNames, childrenOf, isUsing, walk };
