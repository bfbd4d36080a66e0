#!/usr/bin/env node
/**
 * The launcher: the one way into Postern, for people, for npm scripts and for containers. CommonJS that any Node >= 18 runs.
 *
 * In a checkout it first sees to it that what runs is what is checked out: dependencies as the lockfile says, `dist/` as `src/`
 * says. Then it continues in this process if that is Node >= 24, else in the packaged Node 24 from `optionalDependencies`, with
 * that runtime's folder first in PATH, passing signals and the exit status on. It relies on nothing in PATH but npm.
 *
 *   postern ARGS...                  the command line interface
 *   postern --script FILE ARGS...    a TypeScript file of the checkout, run as it stands
 *   postern --tool NAME ARGS...      a development tool from node_modules
 *   postern --build                  `dist/` made anew
 */
'use strict'

const { spawn } = require('node:child_process')
const { createHash } = require('node:crypto')
const fs = require('node:fs')
const { createRequire } = require('node:module')
const { constants } = require('node:os')
const path = require('node:path')
const { pathToFileURL } = require('node:url')

const minimumMajor = 24
const root = path.dirname(__dirname)
const nodeModules = path.join(root, 'node_modules')
const dist = path.join(root, 'dist')
const isCheckout = fs.existsSync(path.join(root, 'src', 'cli.ts')) && fs.existsSync(path.join(root, 'package-lock.json'))
const isWindows = process.platform === 'win32'

main(process.argv.slice(2)).catch((error) => fail(error instanceof Refusal ? error.message : String(error?.stack ?? error)))

/** Something that the person at the keyboard can mend: printed without a stack. */
class Refusal extends Error {}

async function main(args) {
  const [mode, name, ...rest] = args
  if (isCheckout) await installIfNeeded()
  const node = findRuntime()
  if (mode === '--script') return run(node, path.resolve(root, name), rest)
  if (mode === '--tool') return run(node, findTool(name), rest)
  if (mode === '--build') return build(node)
  if (isCheckout) await buildIfNeeded(node)
  return run(node, path.join(dist, 'cli.js'), args)
}

/** Installs when what is installed is not what the lockfile says: all of it, or only what is missing. */
async function installIfNeeded() {
  const lockText = fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8')
  const hash = createHash('sha256').update(lockText).digest('hex')
  const stamp = path.join(nodeModules, '.postern-installed')
  if (readIfThere(stamp) === hash) return
  const lock = JSON.parse(lockText)
  if (readInstalled(lock) === 'other') {
    say('Installing the packages that package-lock.json names (once; a minute or less) ...')
    await npm(process.execPath, ['ci'], lock)
  }
  if (readInstalled(lock) === 'incomplete') {
    // npm leaves out optional packages that are not for the Node it runs on. What they are for runs on ours.
    say('Adding what Node 24 needs ...')
    await npm(findRuntime(), ['install', '--no-save'], lock)
  }
  fs.writeFileSync(stamp, hash)
}

/** Runs npm on this Node; its words are shown if it fails. */
async function npm(node, command, lock) {
  const [program, prefix] = findNpm(node)
  const options = ['--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
  // npm's own patience with a registry that does not answer is minutes of silence.
  const patience = ['--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=10000']
  const stopProgress = showProgress(lock)
  const { status, stderr } = await runStep(program, [...prefix, ...command, ...options, ...patience], {
    env: { ...process.env, PATH: [path.dirname(node), process.env.PATH].join(path.delimiter) },
    stdio: ['ignore', 'ignore', 'pipe'],
    shell: isWindows && prefix.length === 0,
  }).finally(stopProgress)
  if (status === 0) return
  say(stderr.replace(/^npm (?:error|ERR!) +at .*\n/gm, '').trimEnd())
  throw new Refusal(`npm ${command[0]} failed, and nothing was started. Is the package registry reachable? Its words are above.`)
}

/**
 * Compares the lockfile with the one npm leaves inside node_modules: `all` the same packages, versions and contents; `incomplete`
 * if only optional ones for this system are missing; else `other`.
 */
function readInstalled(lock) {
  const hidden = readIfThere(path.join(nodeModules, '.package-lock.json'))
  if (hidden === undefined) return 'other'
  const installed = JSON.parse(hidden).packages
  let answer = 'all'
  for (const [where, wanted] of packagesOf(lock)) {
    const there = installed[where]
    if (there === undefined && !isExpected(wanted)) continue
    if (there === undefined && wanted.optional === true) answer = 'incomplete'
    else if (there?.version !== wanted.version || there?.integrity !== wanted.integrity) return 'other'
  }
  return answer
}

function packagesOf(lock) {
  return Object.entries(lock.packages).filter(([where]) => where !== '')
}

/** Whether a package has to be there. An optional one that names no system belongs to one that does, and may be absent with it. */
function isExpected({ optional, os, cpu, libc }) {
  if (optional === true && os === undefined && cpu === undefined) return false
  const names = (value, here) => value === undefined || [value].flat().includes(here)
  return names(os, process.platform) && names(cpu, process.arch) && names(libc, 'glibc')
}

/** The npm that is running us, or whose npx is, to be run by `node`; else the one in PATH. */
function findNpm(node) {
  const running = process.env.npm_execpath?.replace(/npx-cli(?=\.[cm]?js$)/, 'npm-cli')
  if (running !== undefined && /npm-cli\.[cm]?js$/.test(running) && fs.existsSync(running)) return [node, [running]]
  return [isWindows ? 'npm.cmd' : 'npm', []]
}

/** `npm ci` says nothing while it works: this counts the packages that have arrived, each second on a terminal, else now and then. */
function showProgress(lock) {
  const expected = packagesOf(lock).filter(([, wanted]) => isExpected(wanted))
  const { isTTY } = process.stderr
  const startedAt = Date.now()
  const tell = () => {
    const there = expected.filter(([where]) => fs.existsSync(path.join(root, where, 'package.json'))).length
    const text = `  ${there} of ${expected.length} packages, ${Math.round((Date.now() - startedAt) / 1000)} s`
    process.stderr.write(isTTY ? `\r${text}\x1b[K` : `${text}\n`)
  }
  const timer = setInterval(tell, isTTY ? 1000 : 5000)
  return () => {
    clearInterval(timer)
    tell()
    if (isTTY) process.stderr.write('\n')
  }
}

/** Path of a Node that can run Postern: this one, or the packaged one, which lies beside us where we are a dependency ourselves. */
function findRuntime() {
  if (Number(process.versions.node.split('.')[0]) >= minimumMajor) return process.execPath
  const name = `node-${isWindows ? 'win' : process.platform}-${process.arch}`
  try {
    const folder = path.dirname(createRequire(path.join(root, 'package.json')).resolve(`${name}/package.json`))
    const binary = path.join(folder, 'bin', isWindows ? 'node.exe' : 'node')
    if (fs.existsSync(binary)) return binary
  } catch {
    // No such package: there is none for this system, or optional packages were left out.
  }
  throw new Refusal(
    `Postern needs Node ${minimumMajor} or newer. This is ${process.versions.node}, and no packaged one is installed for ${process.platform} on ${process.arch}.\n` +
      `Install Node ${minimumMajor} (https://nodejs.org, or your package manager) and run the same command again.`,
  )
}

/** Compiles `src/` to `dist/` when a source file is newer than the last build. */
async function buildIfNeeded(node) {
  const builtAt = changedAt(path.join(dist, '.built'))
  const inputs = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'].map((file) => changedAt(path.join(root, file)))
  const isFresh = fs.existsSync(path.join(dist, 'cli.js')) && Math.max(newestChange(path.join(root, 'src')), ...inputs) < builtAt
  if (!isFresh) await build(node)
}

/** From nothing, so that what is gone from `src/` goes; and beside the old one until it is whole, since another process may run that. */
async function build(node) {
  say('Building ...')
  const startedAt = new Date()
  const next = path.join(nodeModules, `.postern-build-${process.pid}`)
  try {
    const args = [findTool('tsc'), '-p', path.join(root, 'tsconfig.build.json'), '--outDir', next]
    const { status } = await runStep(node, args, { stdio: ['ignore', 'inherit', 'inherit'] })
    if (status !== 0) throw new Refusal('The build failed; nothing was started.')
    fs.writeFileSync(path.join(next, '.built'), '')
    fs.utimesSync(path.join(next, '.built'), startedAt, startedAt)
    fs.rmSync(dist, { recursive: true, force: true })
    fs.renameSync(next, dist)
  } finally {
    fs.rmSync(next, { recursive: true, force: true })
  }
}

function newestChange(folder) {
  const within = fs.readdirSync(folder, { withFileTypes: true }).map((entry) => {
    const file = path.join(folder, entry.name)
    return entry.isDirectory() ? newestChange(file) : changedAt(file)
  })
  return Math.max(changedAt(folder), ...within)
}

/** When a file last changed; one that is not there never did. */
function changedAt(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** The script behind a tool, read from its package: links in `.bin` differ between npm versions and systems. */
function findTool(name) {
  const packageName = { tsc: 'typescript', biome: '@biomejs/biome' }[name] ?? name
  const folder = path.join(nodeModules, packageName)
  const { bin } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'))
  return path.join(folder, typeof bin === 'string' ? bin : bin[name])
}

/** Runs a step before the start and resolves with its status. A signal meanwhile ends the step, then us: nothing is left behind. */
function runStep(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, ...options })
    let stderr = ''
    let stoppedBy
    child.stderr?.on('data', (chunk) => {
      stderr += chunk
    })
    const stop = (signal) => {
      stoppedBy = signal
      child.kill('SIGTERM')
      // npm would put everything back first, for half a minute. What it leaves counts as not installed, and the next start begins anew.
      setTimeout(() => child.kill('SIGKILL'), 1000)
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, stop)
    child.on('error', (error) => reject(new Refusal(`${command} could not be started: ${error.message}`)))
    child.on('close', (status) => {
      if (stoppedBy !== undefined) process.exit(128 + constants.signals[stoppedBy])
      for (const signal of signals) process.off(signal, stop)
      resolve({ status, stderr })
    })
  })
}

/** Continues with `file`: here if this runtime will do, else in a child whose end is ours. */
function run(node, file, args) {
  process.env.PATH = [path.dirname(node), path.join(nodeModules, '.bin'), process.env.PATH].join(path.delimiter)
  if (node === process.execPath) {
    process.argv = [node, file, ...args]
    return import(pathToFileURL(file).href).catch((error) => fail(String(error?.stack ?? error)))
  }
  const child = spawn(node, [file, ...args], { stdio: 'inherit' })
  // Ctrl-C reaches the child from the terminal as well; it takes two within a moment for one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) =>
    fail(`The packaged Node could not be started: ${error.message}\nIt needs glibc; elsewhere (Alpine) install Node ${minimumMajor}.`),
  )
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
  return child
}

function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch {
    // Not there, or not readable: the same to every caller.
    return undefined
  }
}

function say(text) {
  process.stderr.write(`${text}\n`)
}

function fail(text) {
  say(`postern: ${text}`)
  process.exit(2)
}
