/**
 * Lets a cell declare a name again, as in a notebook. The engine accepts `let` after `let` and `var` after `var`, but no
 * mix of the two. So each name keeps the kind of its first declaration, and a declaration of the other kind becomes an
 * assignment. `const` becomes `let`.
 */
'use strict';

const { boundNames, isUsing } = require('./syntax_tree.cjs');

const LEXICAL = 'lexical'; // let, const, class, import
const VARIABLE = 'variable'; // var, function

/** Globals that are accessors without a setter. Assigning to them, as `var` does, would silently do nothing. */
const READ_ONLY_GLOBALS = new Set(
  Object.entries(Object.getOwnPropertyDescriptors(globalThis))
    .filter(([, descriptor]) => descriptor.get && !descriptor.set)
    .map(([name]) => name),
);
READ_ONLY_GLOBALS.add('crypto').add('navigator');

/** Rewrites the declarations of one cell, and collects those that must be at its start. */
class Declarations {
  #known;
  #edits;
  #declared = new Map();
  #prologue = [];
  #bodies = new Set(); // names of classes and functions
  #renewed = new Set();

  /**
   * @param {Map<string, string>} known  kinds of the names of earlier cells
   * @param {import('./edits.cjs').Edits} edits
   * @param {string} helper  the expression of the object with `rename`
   */
  constructor(known, edits, helper) {
    this.#known = known;
    this.#edits = edits;
    this.helper = helper;
  }

  /** Returns the kinds of the names that no earlier cell declared. */
  get declared() {
    return this.#declared;
  }

  /** Returns code for the start of the cell. */
  get prologue() {
    return this.#prologue.join('');
  }

  /** Puts a statement before the first one of the cell. */
  hoist(statement) {
    this.#prologue.push(statement);
  }

  #kind(name) {
    return this.#known.get(name) ?? this.#declared.get(name);
  }

  #isOther(name, kind) {
    const known = this.#kind(name);
    return known ? known !== kind : kind === VARIABLE && READ_ONLY_GLOBALS.has(name);
  }

  #declare(name, kind) {
    if (!this.#kind(name)) this.#declared.set(name, kind);
  }

  /** Declares `name` before the cell's first statement, for a declaration that becomes an assignment. */
  #declareAhead(name, kind) {
    if (this.#kind(name)) return;
    const actual = kind === VARIABLE && READ_ONLY_GLOBALS.has(name) ? LEXICAL : kind;
    this.#prologue.push(`${actual === LEXICAL ? 'let' : 'var'} ${name};`);
    this.#declare(name, actual);
  }

  /** Registers names. Returns true if they must be assigned because one of them has the other kind. */
  claim(names, kind) {
    const isAssignment = names.some((name) => this.#isOther(name, kind));
    for (const name of names) {
      if (isAssignment) this.#declareAhead(name, kind);
      else this.#declare(name, kind);
    }
    return isAssignment;
  }

  /** Handles `var` anywhere outside functions, and `let` and `const` at the top level. */
  variable(node, parent) {
    if (isUsing(node)) this.#register(node);
    const names = node.declarations.flatMap((declarator) => boundNames(declarator.id));
    if (!this.claim(names, node.kind === 'var' ? VARIABLE : LEXICAL)) {
      if (node.kind === 'const' || isUsing(node)) this.#edits.replace(node.start, node.declarations[0].start, 'let ');
      return;
    }
    const isLoopHead = /^For(In|Of)Statement$/.test(parent.type) && parent.left === node;
    const first = node.declarations[0];
    this.#edits.replace(node.start, first.start, isLoopHead ? '' : 'void (');
    if (isLoopHead) return;
    this.#edits.close(node.declarations.at(-1).end, ')');
    for (const { id, init } of node.declarations) {
      if (!init && node.kind !== 'var') this.#edits.close(id.end, ' = void 0');
    }
  }

  /** Makes the end of the cell dispose of what `using` declares at the top level. */
  #register({ kind, declarations }) {
    for (const { init } of declarations) {
      this.#edits.open(init.start, `${this.helper}.use(${kind === 'await using'}, (`);
      this.#edits.close(init.end, '))');
    }
  }

  /**
   * Handles an enum or a namespace, which the engine adds to the object of its name. Within a cell that is right. One of
   * an earlier cell is replaced, unless this cell declares the function or class that the namespace belongs to.
   */
  renew(name) {
    if (this.#renewed.has(name) || !this.#known.has(name) || this.#bodies.has(name)) return;
    this.#renewed.add(name);
    this.#prologue.push(`${name} = void 0;`);
  }

  class(node) {
    this.#bodies.add(node.id.name);
    if (!this.claim([node.id.name], LEXICAL)) return;
    this.#edits.open(node.start, `${node.id.name} = `);
    this.#edits.close(node.end, ';');
  }

  /** Keeps a function hoisted: gives it another name, and assigns it at the start of the cell. */
  function(node) {
    const { name } = node.id;
    this.#bodies.add(name);
    if (!this.claim([name], VARIABLE)) return;
    this.#edits.replace(node.id.start, node.id.end, `__${name}__`);
    this.#prologue.push(`${name} = ${this.helper}.rename(__${name}__, "${name}");`);
  }
}

module.exports = { Declarations, LEXICAL };
