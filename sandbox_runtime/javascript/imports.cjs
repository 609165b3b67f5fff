/**
 * Implements `import` and `require` for cells. They find built-in modules, packages in node_modules of the working
 * directory and its parents and in NODE_PATH, and files relative to the working directory.
 */
'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { isNativeError } = require('node:util/types');
const vm = require('node:vm');
const { Error, SyntaxError, URL, process } = require('./globals.cjs');
const { local } = require('./bytes.cjs');
const { modifiedAt, renew } = require('./edited_files.cjs');
const { existing } = require('./module_hooks.cjs');
const { settle } = require('./user_side.cjs');

const { captureStackTrace } = Error;
const { cwd } = process;

const importers = new Map();

/** Runs `import()` as a module in the folder `base` would. */
function importerOf(base) {
  let importer = importers.get(base);
  if (!importer) {
    const load = vm.compileFunction('return import(specifier, options)', ['specifier', 'options'], {
      filename: path.join(base, 'cell.js'),
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
    importer = (...given) => new Promise((resolve, reject) => settle(load(...given), resolve, reject));
    importers.set(base, importer);
  }
  return importer;
}

/**
 * @param {string} specifier
 * @param {object} [options]  `{with: {...}}`
 * @param {string[]} [names]  exports that must exist
 * @returns {Promise<object>} the module's namespace
 */
async function importModule(specifier, options, names = []) {
  const text = String(specifier);
  const isFile = /^(\.{0,2}\/|\.{1,2}$|file:)/.test(text);
  let namespace;
  try {
    namespace = await (isFile ? importFile(text, options) : importPackage(text, options));
  } catch (error) {
    throw withPlace(error);
  }
  const missing = names.filter((name) => !(name in namespace));
  return missing.length ? withMembersOfDefault(text, namespace, missing) : namespace;
}

/** Gives a loader error, which has no frame of user code, the frames of the importing cell. */
function withPlace(error) {
  if (!isNativeError(error) || !String(error.code).startsWith('ERR_')) return error;
  const { stack } = error;
  if (/^ +at (?!.*\bnode:)/m.test(stack)) return error;
  error.message = error.message.replace(/ imported from .*[/\\]cell\.js$/, '');
  captureStackTrace(error, importModule);
  // The loader puts the position of a syntax error before the error's own lines.
  const [place] = stack.split(`\n${error.name} [${error.code}]`, 1);
  if (place !== stack) error.stack = `${place}\n${error.stack}`;
  return error;
}

/** Adds names that only the default export has, for a CommonJS module whose exports the loader could not detect. */
function withMembersOfDefault(specifier, namespace, missing) {
  const found = { ...namespace };
  for (const name of missing) {
    if (!(name in Object(namespace.default))) {
      throw new SyntaxError(`The requested module '${specifier}' does not provide an export named '${name}'`);
    }
    found[name] = namespace.default[name];
  }
  return found;
}

function importFile(specifier, options) {
  const url = specifier.startsWith('file:') ? new URL(specifier) : fileUrl(specifier);
  // Endings that TypeScript and bundlers add.
  const isJson = !options && url.pathname.endsWith('.json');
  return importerOf(cwd())(url.href, isJson ? { with: { type: 'json' } } : options);
}

function fileUrl(specifier) {
  const [, name, query] = /^([^?#]*)(.*)$/s.exec(specifier);
  const file = existing(path.resolve(name));
  renew(file);
  return new URL(pathToFileURL(file).href + query);
}

async function importPackage(specifier, options) {
  try {
    return await importerOf(cwd())(specifier, options);
  } catch (error) {
    const isMissing = error?.code === 'ERR_MODULE_NOT_FOUND' && error.message.includes(`'${packageOf(specifier)}'`);
    if (!isMissing) throw error;
    for (const folder of (process.env.NODE_PATH ?? '').split(path.delimiter).filter(Boolean)) {
      if (!fs.existsSync(path.join(folder, packageOf(specifier)))) continue;
      if (path.basename(folder) === 'node_modules') return importerOf(path.dirname(folder))(specifier, options);
      const file = Module.createRequire(path.join(folder, 'cell.js')).resolve(`./${specifier}`);
      return importerOf(folder)(pathToFileURL(file).href, options);
    }
    // The stack has no frame of the cell and names this file as the importer.
    const message = `Cannot find package '${packageOf(specifier)}'${whatNeeds(specifier)}`;
    throw Object.assign(new Error(message), { code: error.code });
  }
}

/** Says why a package is imported that the code does not name. */
function whatNeeds(specifier) {
  if (!/\/jsx-(dev-)?runtime$/.test(specifier)) return '';
  const name = packageOf(specifier);
  return `, which JSX needs: run \`npm install ${name}\`, or begin with /** @jsx f */ if elements are calls of your own f`;
}

function packageOf(specifier) {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

/** Returns a `require` that always resolves from the current working directory. */
function createCellRequire(mainModule) {
  const current = () => Module.createRequire(path.join(cwd(), 'cell.js'));
  const cellRequire = (specifier) => {
    const own = current();
    forgetIfEdited(own, specifier);
    try {
      return own(specifier);
    } finally {
      rememberLoaded();
    }
  };
  cellRequire.resolve = Object.assign((...given) => current().resolve(...given), {
    paths: (specifier) => current().resolve.paths(specifier),
  });
  cellRequire.cache = Module._cache;
  cellRequire.extensions = Module._extensions;
  cellRequire.main = mainModule; // so that `require.main === module` is true in a cell
  return cellRequire;
}

/** The modification time of each file of the session that `require` has loaded, by path. */
const requiredAt = new Map();

/** Drops modules whose files were edited since they were loaded, and those that loaded them, from the cache. */
function forgetIfEdited(own, specifier) {
  let file;
  try {
    file = own.resolve(specifier);
  } catch {
    return; // require reports the error
  }
  if (path.isAbsolute(file)) forget(file, new Set());
}

function rememberLoaded() {
  for (const file of Object.keys(Module._cache)) {
    if (!requiredAt.has(file) && !file.includes('/node_modules/')) requiredAt.set(file, modifiedAt(file));
  }
}

/** Returns true if a module, or one that it requires, was edited. */
function forget(file, seen) {
  const loaded = Module._cache[file];
  if (!loaded || seen.has(file) || file.includes('/node_modules/')) return false;
  seen.add(file);
  const isEdited = requiredAt.has(file) && requiredAt.get(file) !== modifiedAt(file);
  const isStale = local(loaded.children).map((child) => forget(child.filename, seen)).includes(true) || isEdited;
  if (isStale) {
    delete Module._cache[file];
    requiredAt.delete(file);
  }
  return isStale;
}

/** Lets Node warn of what is experimental now, in a way that code could break. The warning itself is switched off. */
function prepareImports() {
  importerOf(cwd())('node:os');
}

/** Applies NODE_PATH after the environment changed. */
function refreshModulePaths() {
  Module._initPaths();
}

module.exports = { createCellRequire, importModule, prepareImports, refreshModulePaths };
