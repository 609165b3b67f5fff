/**
 * Compiles a cell to code for the engine. Strips types, turns imports and exports into statements, passes on the value
 * of the last expression, and makes top-level awaits interruptible. Pure: its result depends only on its arguments.
 */
'use strict';

const { isBuiltin } = require('node:module');
const acorn = require('internal/deps/acorn/acorn/dist/acorn');
const { guardConstants, topLevelNames } = require('./constants.cjs');
const { Declarations, LEXICAL } = require('./declarations.cjs');
const { Edits } = require('./edits.cjs');
const { createLocator } = require('./positions.cjs');
const { CellSyntaxError } = require('./syntax_error.cjs');
const { isUsing, walk } = require('./syntax_tree.cjs');
const { findJsxError, stripTypes } = require('./typescript.cjs');

/** The name of the global object whose methods compiled cells call (user_environment.cjs). */
const HELPER = '__sandbox__';

const NEVER = `await ${HELPER}.never`;

const MAX_QUOTE = 100; // characters of code that an error quotes

/** The end of a JSX element. */
const ELEMENT = /<\/|\/>/;

const OPTIONS = { ecmaVersion: 'latest', allowAwaitOutsideFunction: true, allowHashBang: true };

/**
 * @param {{source: string, language: string, fileName: string, known: Map<string, string>, constants: Set<string>,
 *   epoch: number, count: number, translate: Function}} cell  `known`: kinds of the names of earlier cells; `constants`:
 *   the names declared with `const`; `epoch`: the number of interrupts before this cell, so that any later one belongs to
 *   it; `count`: the cell's number; `translate`: runs TypeScript's own compiler, as `Compiler.compile` does
 * @returns {{code: string, declared: Map<string, string>, names: Map<string, boolean>, maps: object[],
 *   hasResources: boolean}}  `names`: the top-level names, with true for constants; `maps` as in positions.cjs;
 *   `hasResources`: there is `using` at the top level, so that `dispose` of the helper must be called after the cell
 * @throws {CellSyntaxError}
 */
function compileCell({ source, language, fileName, known, constants, epoch, count, translate }) {
  const isTypeScript = language === 'typescript';
  const { tree, ...stripped } = toJavaScript(source, isTypeScript, translate);
  const edits = new Edits(stripped.code);
  const declarations = new Declarations(known, edits, HELPER);
  rewrite(tree, stripped.code, edits, declarations, { isTypeScript, isTransformed: stripped.maps.length > 0, epoch });
  const names = topLevelNames(tree);
  guardConstants(tree, constantsIn(names, constants), edits, `${HELPER}.constant`);
  if (stripped.code.startsWith('#!')) edits.replace(0, 2, '//');
  const strict = tree.body.some(({ directive }) => directive === 'use strict') ? "'use strict';" : '';
  const { code, map } = edits.apply(strict + beginning(epoch, count) + declarations.prologue);
  return {
    code: `${code}\n;void 0\n//# sourceURL=${fileName}`,
    declared: declarations.declared,
    names,
    maps: [map, ...stripped.maps],
    hasResources: tree.body.some(isUsing),
  };
}

/** Removes types, and translates what the engine does not have: decorators, `accessor` and JSX. Returns the tree, too. */
function toJavaScript(source, isTypeScript, translate) {
  try {
    const stripped = isTypeScript ? stripTypes(source) : { code: source, maps: [] };
    return { ...stripped, tree: parse(stripped, source) };
  } catch (error) {
    const feature = error instanceof CellSyntaxError ? untranslated(error, source, isTypeScript) : null;
    if (!feature) throw error;
    const isJsx = !isTypeScript || (ELEMENT.test(source) && !findJsxError(source));
    const { code, map } = translate({ source, feature, extension: `.${isTypeScript ? 'ts' : 'js'}${isJsx ? 'x' : ''}` });
    const translated = { code, maps: [{ sourceMap: map }] };
    const tree = parse(translated, source);
    refuseTranslatedUsing(tree, feature, source);
    return { ...translated, tree };
  }
}

/** Refuses `using` at the top level of a cell that was translated: the cell is then a block, and keeps no names. */
function refuseTranslatedUsing({ body }, feature, source) {
  const isBlock = body.some(({ declarations }) => /^env_\d+$/.test(declarations?.[0]?.id.name));
  if (!isBlock || !body.some(({ type }) => type === 'TryStatement')) return;
  const line = source.split('\n').findIndex((text) => /^\s*(await\s+)?using\s/.test(text)) + 1 || 1;
  const message = `${feature} and a 'using' at the top level cannot be in one cell: put the 'using' into a block { ... }`;
  throw new CellSyntaxError(message, source, line, 0);
}

/** Returns what the engine does not have and a syntax error is about, or null. Throws the error of code with JSX. */
function untranslated({ before, found }, source, isTypeScript) {
  if (found === '@') return 'Decorators';
  if (/\baccessor\s+$/.test(before ?? '')) return 'Accessors';
  const isJsx = isTypeScript ? ELEMENT.test(source) : found === '<';
  const failure = isTypeScript && isJsx ? findJsxError(source) : null;
  if (failure) throw failure;
  return isJsx ? 'JSX elements' : null;
}

/** Code after an await runs as its own task, in which a loop can be terminated. Inside the evaluation it cannot. */
function beginning(epoch, count) {
  return `if (${HELPER}.isStale(${epoch}, await ${HELPER}.begin(${count}))) ${NEVER};`;
}

/** Returns the names that are constants in a cell: its own constants, and those of earlier cells that it does not redeclare. */
function constantsIn(names, earlier) {
  const found = new Set([...earlier].filter((name) => !names.has(name)));
  for (const [name, isConstant] of names) if (isConstant) found.add(name);
  return found;
}

function parse({ code, maps }, source) {
  const object = parseObject(code);
  if (object) return object;
  let failure;
  // A sloppy script (`with`, octal numbers) is not a valid module, so try it second.
  for (const sourceType of ['module', 'script']) {
    try {
      return acorn.parse(code, { ...OPTIONS, sourceType });
    } catch (error) {
      if (!error.loc) throw error;
      failure ??= error;
    }
  }
  const { line, column } = createLocator(maps)(failure.loc.line, failure.loc.column);
  const error = new CellSyntaxError(failure.message.replace(/ \(\d+:\d+\)$/, ''), source, line, column);
  const before = code.slice(Math.max(0, failure.pos - MAX_QUOTE), failure.pos);
  throw Object.assign(error, { before, found: code[failure.pos] });
}

/** Parses a cell such as `{a: 1}` as an object literal, because its author means one. Returns null for other cells. */
function parseObject(code) {
  const start = code.search(/\S/);
  if (code[start] !== '{' || !code.trimEnd().endsWith('}')) return null;
  try {
    const expression = acorn.parseExpressionAt(code, start, { ...OPTIONS, sourceType: 'module' });
    const isAll = expression.end === code.trimEnd().length && expression.properties?.length > 0;
    if (!isAll) return null;
    const { end } = expression;
    return { type: 'Program', start, end, body: [{ type: 'ExpressionStatement', start, end, expression }] };
  } catch {
    return null;
  }
}

function rewrite(tree, code, edits, declarations, options) {
  const last = tree.body.findLast((statement) => !isNothing(statement));
  const value = last && valueOf(last);
  if (value) {
    // A promise is awaited, as the author of `main()` expects.
    edits.open(value.start, `${HELPER}.isStale(${options.epoch}, await ${HELPER}.settled((`);
    edits.close(value.end, `))) ? ${NEVER} : ${HELPER}.result(${HELPER}.value())`);
  }
  walk(tree, (node, parent, isNested) => {
    const isTop = parent === tree || (parent?.type.startsWith('Export') && parent.declaration === node);
    const visitor = VISITORS[node.type];
    if (visitor) visitor(node, { parent, isNested, isTop, code, edits, declarations, ...options });
  });
}

/** True for `;` and for the remains of the TypeScript transformation: `export {}`, and `var Name;` for a namespace. */
function isNothing({ type, kind, declaration, declarations, source, specifiers }) {
  if (type === 'EmptyStatement') return true;
  if (type === 'VariableDeclaration') return kind === 'var' && declarations.every(({ init }) => !init);
  return type === 'ExportNamedDeclaration' && !declaration && !source && !specifiers.length;
}

/** True for a statement that does something. */
function isCode({ type, directive }) {
  return !directive && type !== 'ImportDeclaration' && type !== 'FunctionDeclaration' && type !== 'EmptyStatement';
}

/** Returns the expression whose value is the cell's: its last statement. Returns null if that is not an expression. */
function valueOf(statement) {
  if (statement.type === 'ExpressionStatement') return statement.expression;
  if (statement.type !== 'ExportDefaultDeclaration') return null;
  const { declaration } = statement;
  return declaration.type.endsWith('Declaration') ? null : declaration;
}

const VISITORS = {
  VariableDeclaration(node, { parent, isNested, isTop, declarations }) {
    if (isNested) return;
    if (node.kind === 'var' || isTop) declarations.variable(node, parent);
  },
  FunctionDeclaration(node, { isTop, declarations }) {
    if (isTop && node.id) declarations.function(node);
  },
  ClassDeclaration(node, { isTop, declarations }) {
    if (isTop && node.id) declarations.class(node);
  },
  AwaitExpression(node, { isNested, edits, epoch }) {
    if (isNested) return;
    edits.open(node.start, `${HELPER}.value(${HELPER}.isStale(${epoch}, `);
    edits.close(node.end, `) ? ${NEVER} : 0)`);
    // If the awaited promise fails, the check after the await does not run.
    edits.open(node.argument.start, `(${HELPER}.isStale(${epoch}) ? ${HELPER}.never : (`);
    edits.close(node.argument.end, '))');
  },
  ForOfStatement({ await: isAwaiting, right: { start, end } }, { isNested, code, edits, epoch }) {
    if (isNested || !isAwaiting) return;
    edits.open(start, `${HELPER}.each(${epoch}, (`);
    edits.close(end, `), ${JSON.stringify(code.slice(start, Math.min(end, start + MAX_QUOTE)))})`);
  },
  CallExpression(node, { isNested, isTransformed, declarations }) {
    const name = isTransformed && !isNested ? transformedName(node) : null;
    if (name) declarations.renew(name);
  },
  ImportExpression(node, { edits }) {
    edits.replace(node.start, node.start + 'import'.length, `${HELPER}.import`);
  },
  MetaProperty(node, { edits }) {
    if (node.meta.name === 'import') edits.replace(node.start, node.end, `${HELPER}.meta`);
  },
  ImportDeclaration(node, { parent, edits, declarations, isTypeScript, epoch }) {
    const statement = importStatement(node, declarations, isTypeScript, epoch);
    // As in a module. Others stay in their place, because the code before may write the file or install the package.
    const isLate = isBuiltin(node.source.value) && parent.body.find(isCode)?.start < node.start;
    if (isLate) declarations.hoist(statement);
    edits.replace(node.start, node.end, isLate ? '' : statement);
  },
  ExportAllDeclaration(node, { edits, epoch }) {
    edits.replace(node.start, node.end, `${importCall(node.source.raw, epoch)};`);
  },
  ExportNamedDeclaration(node, { edits, epoch }) {
    if (node.declaration) edits.replace(node.start, node.declaration.start, '');
    else edits.replace(node.start, node.end, node.source ? `${importCall(node.source.raw, epoch)};` : ';');
  },
  ExportDefaultDeclaration(node, { edits }) {
    const { declaration } = node;
    const isAnonymous = declaration.type.endsWith('Declaration') && !declaration.id;
    edits.replace(node.start, declaration.start, isAnonymous ? 'void ' : '');
    if (isAnonymous) edits.close(declaration.end, ';');
  },
};

/** Returns the name of an enum or namespace that TypeScript has transformed to `function(E) {...}(E || {})`. */
function transformedName({ callee, arguments: [argument] }) {
  if (callee.type !== 'FunctionExpression' || argument?.type !== 'LogicalExpression' || argument.operator !== '||') return null;
  const { left, right } = argument;
  const empty = right.type === 'AssignmentExpression' && right.left.name === left.name ? right.right : right;
  return left.type === 'Identifier' && empty.type === 'ObjectExpression' && !empty.properties.length ? left.name : null;
}

/** Turns a static import into a statement that binds the same names. */
function importStatement(node, declarations, isTypeScript, epoch) {
  const names = [];
  const members = [];
  let namespace = null;
  const required = [];
  for (const { type, local, imported } of node.specifiers) {
    names.push(local.name);
    if (type === 'ImportNamespaceSpecifier') {
      namespace = local.name;
      continue;
    }
    const name = type === 'ImportDefaultSpecifier' ? 'default' : (imported.name ?? imported.value);
    required.push(name);
    members.push(`${JSON.stringify(name)}: ${local.name}`);
  }
  const attributes = node.attributes?.length ? attributesOf(node.attributes) : 'undefined';
  // A TypeScript import may be only a type, which does not exist at run time.
  const checked = isTypeScript ? [] : required;
  const call = importCall(`${node.source.raw}, ${attributes}, ${JSON.stringify(checked)}`, epoch);
  if (!names.length) return `${call};`;
  const pattern = `{${members.join(', ')}}`;
  const isAssignment = declarations.claim(names, LEXICAL);
  if (!namespace) return isAssignment ? `void (${pattern} = ${call});` : `let ${pattern} = ${call};`;
  if (isAssignment) return `void (${namespace} = ${call}, ${pattern} = ${namespace});`;
  return `let ${namespace} = ${call}, ${pattern} = ${namespace};`;
}

function importCall(given, epoch) {
  return `${HELPER}.value(${HELPER}.isStale(${epoch}, await ${HELPER}.import(${given})) ? ${NEVER} : 0)`;
}

function attributesOf(attributes) {
  const pairs = attributes.map(({ key, value }) => `${JSON.stringify(key.name ?? key.value)}: ${value.raw}`);
  return `{with: {${pairs.join(', ')}}}`;
}

module.exports = { HELPER, compileCell };
