/**
 * What Node's loader does not do for files that a cell imports. They may leave out endings, as TypeScript's may. They
 * may use JSX and decorators if a compiler is installed, and otherwise an error says so.
 */
'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { fileURLToPath, pathToFileURL } = require('node:url');
const { base64 } = require('./bytes.cjs');
const { urlOfImport } = require('./edited_files.cjs');
const { JSON, SyntaxError, URL } = require('./globals.cjs');

const ENDINGS = ['', '.ts', '.tsx', '.mts', '.js', '.jsx', '.mjs', '.cjs', '.cts', '.json'];
/** Endings of TypeScript's output, which its sources import, with those of the sources. */
const SOURCES = { '.js': ['.ts', '.tsx'], '.jsx': ['.tsx'], '.mjs': ['.mts'], '.cjs': ['.cts'] };
const NOT_FOUND = new Set(['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND', 'ERR_UNSUPPORTED_DIR_IMPORT']);

/** What looks like a decorator or `accessor`, outside comments. Other texts are left to Node. */
const DECORATED = /^[^*/'"`\n]*(^|[\s;{}(])(@[A-Za-z_$(]|accessor\s+[\w#$[])/m;
/** Comments and strings. They are not found where a template contains another one. */
const TEXTS = /\/\*[^]*?\*\/|\/\/.*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[^]|[^`\\])*`/g;
const NESTED = /\$\{[^}]*`/;
/** What only a module may contain: Node, too, tells by it, if no package.json does. */
const IS_MODULE = /^\s*(import|export)\b|\bimport\.meta\b|^(.*[=(,]\s*)?await\s|^for\s+await\b/m;

/** Returns the file that a path without its ending means, or the path if there is none. */
function existing(file) {
  const isFile = (candidate) => fs.statSync(candidate, { throwIfNoEntry: false })?.isFile();
  const { dir, name, ext } = path.parse(file);
  const candidates = [
    ...ENDINGS.map((ending) => file + ending),
    ...(SOURCES[ext] ?? []).map((ending) => path.join(dir, name + ending)),
    ...ENDINGS.slice(1).map((ending) => path.join(file, `index${ending}`)),
  ];
  return candidates.find(isFile) ?? file;
}

/** @param {import('./compiler.cjs').Compiler} compiler */
function installModuleHooks(compiler) {
  Module.registerHooks({ resolve, load: (url, context, next) => load(compiler, url, context, next) });
}

function resolve(specifier, context, next) {
  const resolved = completeEnding(specifier, context, next);
  const url = urlOfImport(resolved.url, context.parentURL);
  // The cache of `require` goes by path.
  return context.conditions?.includes('require') ? resolved : { ...resolved, url };
}

function completeEnding(specifier, context, next) {
  try {
    return next(specifier, context);
  } catch (error) {
    const isFile = /^(\.{0,2}\/|\.{1,2}$)/.test(specifier) && context.parentURL?.startsWith('file:');
    if (!NOT_FOUND.has(error?.code) || !isFile) throw error;
    const file = fileURLToPath(new URL(specifier, context.parentURL));
    const found = existing(file);
    if (found === file) throw error;
    return next(error.code === 'MODULE_NOT_FOUND' ? found : pathToFileURL(found).href, context);
  }
}

function load(compiler, url, context, next) {
  const [, ending] = /^file:[^?#]*(\.[cm]?[jt]sx?)(?:[?#]|$)/.exec(url) ?? [];
  if (!ending || url.includes('/node_modules/')) return next(url, context);
  if (ending.endsWith('x')) return translate(compiler, url, ending, fs.readFileSync(fileURLToPath(url), 'utf8'));
  if (!ending.endsWith('ts')) return next(url, context);
  const file = fileURLToPath(url);
  const source = fs.statSync(file, { throwIfNoEntry: false })?.isFile() ? fs.readFileSync(file, 'utf8') : '';
  if (!DECORATED.test(source)) return next(url, context);
  // Without a compiler, only what certainly needs one is refused, by an error that says what to install.
  if (!compiler.isInstalled(path.dirname(file)) && !isDecorated(source)) return next(url, context);
  return translate(compiler, url, ending, source);
}

/** Returns whether a text has decorators or `accessor` outside its comments and strings, as far as that is certain. */
function isDecorated(source) {
  return !NESTED.test(source) && DECORATED.test(source.replace(TEXTS, ''));
}

/** Returns whether the nearest package.json makes its files modules. */
function isInModulePackage(file) {
  const found = Module.findPackageJSON(pathToFileURL(file));
  if (found === undefined) return false;
  try {
    return JSON.parse(fs.readFileSync(found, 'utf8')).type === 'module';
  } catch {
    return false; // it is not valid, which is for npm to say
  }
}

function translate(compiler, url, ending, source) {
  const file = fileURLToPath(url);
  const isModule = /^\.m/.test(ending) || IS_MODULE.test(source) || isInModulePackage(file);
  const isCommon = ending === '.cts' || !isModule;
  const module = isCommon ? 'commonjs' : 'esnext';
  const feature = ending.endsWith('x') ? `JSX elements (${file})` : `Decorators (${file})`;
  try {
    const { code, map } = compiler.compile({ source, extension: ending, folder: path.dirname(file), feature, module });
    const named = JSON.stringify({ ...JSON.parse(map), sources: [url] });
    const comment = `//# sourceMappingURL=data:application/json;base64,${base64(named)}`;
    return { format: isCommon ? 'commonjs' : 'module', source: `${code}\n${comment}`, shortCircuit: true };
  } catch (error) {
    if (typeof error.line !== 'number') throw error;
    throw new SyntaxError(`${String(error.message)} (${file}:${error.line}:${error.column + 1})`);
  }
}

module.exports = { existing, installModuleHooks };
