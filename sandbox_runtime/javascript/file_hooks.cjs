/**
 * Loaded before a file that `sandbox run` runs with Node: decorators, `accessor` and JSX work there as in cells, and
 * imports may leave out endings. SANDBOX_COMPILERS names folders whose node_modules may have the compiler.
 */
'use strict';

const { delimiter } = require('node:path');
const { tmpdir } = require('node:os');
const { requireInRealm } = require('./realm.cjs');

const { Compiler } = requireInRealm('./compiler.cjs');
const { installModuleHooks } = requireInRealm('./module_hooks.cjs');

// The variable stays: this file is loaded again in each worker and forked program.
const folders = (process.env.SANDBOX_COMPILERS ?? '').split(delimiter);
installModuleHooks(new Compiler(folders, tmpdir()));
