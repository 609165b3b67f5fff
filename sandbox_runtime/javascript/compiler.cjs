/**
 * Runs TypeScript's own compiler on one text, for what removing types cannot do: decorators, `accessor` and JSX. Types are
 * not checked. The compiler is the native program that also checks types (sandbox_runtime/typecheck).
 */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Error, JSON, Map, Number, Object, String, process } = require('./globals.cjs');
const { CellSyntaxError } = require('./syntax_error.cjs');

const TIMEOUT_MILLISECONDS = 30_000;
const MAX_OUTPUT = 64 << 20;
const MISSING =
  'the TypeScript compiler, which is not installed: run `python -m sandbox_runtime.typecheck` where the runtime of ' +
  'this sandbox is installed, or `npm install -g typescript@7` in the session';

/** The newest language that still has decorators and `accessor` translated. */
const OPTIONS = Object.freeze({
  allowJs: true,
  isolatedModules: true,
  jsx: 'react-jsx',
  moduleDetection: 'force',
  noCheck: true,
  noLib: true,
  noResolve: true,
  outDir: 'out',
  sourceMap: true,
  target: 'es2025',
  verbatimModuleSyntax: true,
});

/** Options of the user's tsconfig.json that change what code does. */
const USERS = [
  'emitDecoratorMetadata',
  'experimentalDecorators',
  'jsx',
  'jsxFactory',
  'jsxFragmentFactory',
  'jsxImportSource',
  'useDefineForClassFields',
];

class Compiler {
  #folders;
  #temporary;
  #configs = new Map(); // options by the path of a tsconfig.json and its modification time

  /**
   * @param {string[]} folders    folders whose node_modules may have a compiler
   * @param {string} temporary  folder for temporary files
   */
  constructor(folders, temporary) {
    this.#folders = folders;
    this.#temporary = temporary;
  }

  /**
   * @param {{source: string, extension: string, folder: string, feature: string, module?: string}} text  `extension`: of
   *   the source; `folder`: of the tsconfig.json that applies, or below it; `feature`: named in the error if there is no
   *   compiler
   * @returns {{code: string, map: string}}  `map` is JSON
   * @throws {CellSyntaxError | Error}
   */
  compile({ source, extension, folder, feature, module = 'esnext' }) {
    const program = this.#find(folder);
    if (!program) throw new CellSyntaxError(`${feature} need ${MISSING}`, source, 1, 0);
    const work = fs.mkdtempSync(path.join(this.#temporary, 'sandbox-tsc-'));
    try {
      const options = { ...OPTIONS, ...this.#usersOptions(program, folder, work), ...pragmaOptions(source), module };
      const name = `code${extension}`;
      fs.writeFileSync(path.join(work, name), source);
      fs.writeFileSync(path.join(work, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: [name] }));
      const report = run(program, ['--singleThreaded', '--pretty', 'false', '-p', work], work);
      refuse(report, source);
      return readOutput(path.join(work, 'out'), report);
    } finally {
      fs.rmSync(work, { recursive: true, force: true });
    }
  }

  isInstalled(folder) {
    return this.#find(folder) !== null;
  }

  #find(folder) {
    const packageName = `typescript-${process.platform}-${process.arch}`;
    for (const root of [...this.#folders, folder]) {
      const modules = path.join(root, 'node_modules');
      for (const parent of [modules, path.join(modules, 'typescript', 'node_modules')]) {
        const program = path.join(parent, '@typescript', packageName, 'lib', 'tsc');
        if (fs.existsSync(program)) return program;
      }
    }
    return null;
  }

  /** Returns the options of the nearest tsconfig.json, with those that it extends. */
  #usersOptions(program, folder, work) {
    const file = nearestConfig(folder);
    if (!file) return {};
    const key = `${file}\n${fs.statSync(file).mtimeMs}`;
    if (!this.#configs.has(key)) this.#configs.set(key, readConfig(program, file, work));
    return this.#configs.get(key);
  }
}

/** A comment that names the function for elements means the classic form, in which there is such a function. */
function pragmaOptions(source) {
  return /@jsx(Frag)?\s+[\w$]/.test(source) ? { jsx: 'react' } : {};
}

function nearestConfig(folder) {
  const file = path.join(folder, 'tsconfig.json');
  if (fs.existsSync(file)) return file;
  const parent = path.dirname(folder);
  return parent === folder ? null : nearestConfig(parent);
}

/** Reads a tsconfig.json. One that cannot be read gives no options: the code need not be meant for it. */
function readConfig(program, file, work) {
  fs.writeFileSync(path.join(work, 'tsconfig.json'), JSON.stringify({ extends: file, files: ['none.ts'] }));
  let options;
  try {
    options = JSON.parse(run(program, ['--showConfig', '-p', work], work)).compilerOptions ?? {};
  } catch {
    return {};
  }
  const found = {};
  for (const name of USERS) if (name in options) found[name] = options[name];
  // The other values leave JSX to a bundler.
  if (found.jsx && !found.jsx.startsWith('react')) delete found.jsx;
  if (found.jsx === 'react-native') delete found.jsx;
  return found;
}

function run(program, options, cwd) {
  const limits = { timeout: TIMEOUT_MILLISECONDS, maxBuffer: MAX_OUTPUT };
  // Loading it takes longer than the rest of the start-up.
  const { spawnSync } = require('node:child_process');
  const { error, signal, stdout, stderr } = spawnSync(program, options, { cwd, env: {}, ...limits });
  if (error) throw new Error(`the TypeScript compiler did not run: ${error.message}`);
  if (signal) throw new Error(`the TypeScript compiler was ended by ${signal}: ${String(stderr).slice(0, 1000)}`);
  return String(stdout);
}

/** Throws the first error that has a position. Without checks, only syntax errors have one. */
function refuse(report, source) {
  const found = /^code\.[cm]?[jt]sx?\((\d+),(\d+)\): error TS\d+: (.*)$/m.exec(report);
  if (found) throw new CellSyntaxError(found[3], source, Number(found[1]), Number(found[2]) - 1);
}

function readOutput(folder, report) {
  const names = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
  const map = names.find((name) => name.endsWith('.map'));
  if (!map) throw new Error(`the TypeScript compiler wrote nothing: ${report.slice(0, 1000)}`);
  const read = (name) => fs.readFileSync(path.join(folder, name), 'utf8');
  const code = read(map.slice(0, -'.map'.length)).replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
  return { code, map: read(map) };
}

module.exports = { Compiler };
