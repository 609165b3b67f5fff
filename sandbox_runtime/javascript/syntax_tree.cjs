/**
 * Walking a syntax tree, and the names that declarations bind. Pure.
 */
'use strict';

const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);
/** Nodes whose inside has its own `var` scope and its own `await`. */
const isScope = (node) =>
  FUNCTIONS.has(node.type) || node.type === 'StaticBlock' || node.type === 'PropertyDefinition';

/** Calls `visit(node, parent, isNested)` for each node, parents first; `isNested` inside functions and class bodies. */
function walk(root, visit) {
  const stack = [[root, null, false]];
  while (stack.length) {
    const [node, parent, isNested] = stack.pop();
    visit(node, parent, isNested);
    const inside = isNested || isScope(node);
    for (const child of childrenOf(node).reverse()) stack.push([child, node, inside]);
  }
}

/** The nodes right below a node, in their order. */
function childrenOf(node) {
  const children = [];
  for (const key in node) {
    const value = node[key];
    if (Array.isArray(value)) children.push(...value.filter((item) => typeof item?.type === 'string'));
    else if (typeof value?.type === 'string') children.push(value);
  }
  return children;
}

/** Names that a binding pattern binds. */
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

module.exports = { boundNames, childrenOf, walk };
