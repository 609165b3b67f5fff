/**
 * Notices that files were edited since they were imported. Node's loader caches modules by URL. So an edited file gets a
 * new URL when a cell imports it again, and so does each file that imports it.
 */
'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const { fileURLToPath } = require('node:url');
const { String, URL } = require('./globals.cjs');

const PARAMETER = 'modified';
/** The modification time of each file when it was imported, by path. */
const importedAt = new Map();
/** The files that each file imports, as sets of paths, by path. */
const imports = new Map();
/** The number in the URL of each file that was edited, by path. */
const versions = new Map();
let lastVersion = 0;

function modifiedAt(file) {
  return fs.statSync(file, { bigint: true, throwIfNoEntry: false })?.mtimeNs;
}

/** Gives a file a new version if it, or a file that it imports, was edited. Returns whether it was. */
function renew(file, seen = new Map()) {
  if (seen.has(file)) return seen.get(file);
  let isStale = importedAt.has(file) && importedAt.get(file) !== modifiedAt(file);
  seen.set(file, isStale);
  for (const child of imports.get(file) ?? []) isStale = renew(child, seen) || isStale;
  if (isStale) {
    versions.set(file, (lastVersion += 1));
    importedAt.delete(file);
    imports.delete(file);
    delete Module._cache[file];
  }
  seen.set(file, isStale);
  return isStale;
}

/** Remembers an import, and returns the URL that it has to use. */
function urlOfImport(url, parentUrl) {
  if (!url.startsWith('file:') || url.includes('/node_modules/')) return url;
  const file = fileURLToPath(url);
  if (!importedAt.has(file)) importedAt.set(file, modifiedAt(file));
  if (parentUrl?.startsWith('file:')) {
    const parent = fileURLToPath(parentUrl);
    if (!imports.has(parent)) imports.set(parent, new Set());
    imports.get(parent).add(file);
  }
  if (!versions.has(file)) return url;
  const renewed = new URL(url);
  renewed.searchParams.set(PARAMETER, String(versions.get(file)));
  return renewed.href;
}

module.exports = { modifiedAt, renew, urlOfImport };
