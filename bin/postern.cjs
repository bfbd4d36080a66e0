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
 */
'use strict'

const { spawn, spawnSync } = require('node:child_process')
const { createHash } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const { pathToFileURL } = require('node:url')

const minimumMajor = 24
const root = path.dirname(__dirname)
const nodeModules = path.join(root, 'node_modules')
const isCheckout = fs.existsSync(path.join(root, 'src', 'cli.ts')) && fs.existsSync(path.join(root, 'package-lock.json'))

main(process.argv.slice(2))

function main(args) {
  if (isCheckout) installIfNeeded()
  const node = findRuntime()
  const [mode, name, ...rest] = args
  if (mode === '--script') return run(node, path.resolve(root, name), rest)
  if (mode === '--tool') return run(node, findTool(name), rest)
  if (isCheckout) buildIfNeeded(node)
  return run(node, path.join(root, 'dist', 'cli.js'), args)
}

/** Runs `npm ci` when what is installed is not what the lockfile says. */
function installIfNeeded() {
  const lockText = fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8')
  const hash = createHash('sha256').update(lockText).digest('hex')
  const stamp = path.join(nodeModules, '.postern-installed')
  if (readIfThere(stamp) === hash) return
  if (!isInstalled(JSON.parse(lockText))) {
    say('Installing the packages that package-lock.json names (once; about a minute) ...')
    const [command, prefix] = findNpm()
    const options = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
    const stopProgress = showProgress(nodeModules)
    const result = spawnSync(command, [...prefix, ...options], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
      shell: command === 'npm.cmd',
    })
    stopProgress()
    if (result.status !== 0) {
      process.stderr.write(String(result.stderr ?? ''))
      fail(`npm ci failed${result.error ? `: ${result.error.message}` : ''}. Is the package registry reachable? Nothing was started.`)
    }
  }
  fs.writeFileSync(stamp, hash)
}

/** Compares the lockfile with the one npm leaves inside node_modules: same packages, same versions, same contents. */
function isInstalled(lock) {
  const hidden = readIfThere(path.join(nodeModules, '.package-lock.json'))
  if (hidden === undefined) return false
  const installed = JSON.parse(hidden).packages
  return Object.entries(lock.packages).every(([where, wanted]) => {
    if (where === '') return true
    const there = installed[where]
    if (there === undefined) return wanted.optional === true && !fitsHere(wanted)
    return there.version === wanted.version && there.integrity === wanted.integrity
  })
}

function fitsHere({ os, cpu, libc }) {
  return (
    (os === undefined || os.includes(process.platform)) &&
    (cpu === undefined || cpu.includes(process.arch)) &&
    !(libc !== undefined && !libc.includes('glibc'))
  )
}

/** The npm that is running us, else the one in PATH. */
function findNpm() {
  const running = process.env.npm_execpath
  if (running !== undefined && /npm-cli\.[cm]?js$/.test(running)) return [process.execPath, [running]]
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm', []]
}

/** `npm ci` is silent when its output is captured: a child prints a dot every two seconds while it works. */
function showProgress() {
  if (!process.stderr.isTTY && process.env.CI !== undefined) return () => undefined
  const ticker = spawn(process.execPath, ['-e', "setInterval(() => process.stderr.write('.'), 2000)"], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return () => {
    ticker.kill()
    process.stderr.write('\n')
  }
}

/** Path of a Node that can run Postern: this one, or the packaged one. */
function findRuntime() {
  if (Number(process.versions.node.split('.')[0]) >= minimumMajor) return process.execPath
  const platform = process.platform === 'win32' ? 'win' : process.platform
  const name = `node-${platform}-${process.arch}`
  const binary = path.join(nodeModules, name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (fs.existsSync(binary)) return binary
  return fail(
    `Postern needs Node ${minimumMajor} or newer; this is ${process.versions.node}, and there is no packaged one for ${process.platform} on ${process.arch}.\n` +
      `Install Node ${minimumMajor} from https://nodejs.org and run the same command again.`,
  )
}

/** Compiles `src/` to `dist/` when a source file is newer than the last build. */
function buildIfNeeded(node) {
  const stamp = path.join(root, 'dist', '.built')
  const builtAt = fs.statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (newestChange(path.join(root, 'src')) < builtAt && fs.statSync(path.join(root, 'package-lock.json')).mtimeMs < builtAt) return
  const startedAt = new Date()
  say('Building ...')
  const result = spawnSync(node, [findTool('tsc'), '-p', path.join(root, 'tsconfig.build.json')], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (result.status !== 0) fail('The build failed; nothing was started.')
  fs.writeFileSync(stamp, '')
  fs.utimesSync(stamp, startedAt, startedAt)
}

function newestChange(folder) {
  let newest = fs.statSync(folder).mtimeMs
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name)
    newest = Math.max(newest, entry.isDirectory() ? newestChange(file) : fs.statSync(file).mtimeMs)
  }
  return newest
}

/** The script behind a tool, read from its package: links in `.bin` differ between npm versions and systems. */
function findTool(name) {
  const packageName = { tsc: 'typescript', biome: '@biomejs/biome' }[name] ?? name
  const folder = path.join(nodeModules, packageName)
  const { bin } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'))
  return path.join(folder, typeof bin === 'string' ? bin : bin[name])
}

/** Continues with `file`: here if this runtime will do, else in a child whose end is ours. */
function run(node, file, args) {
  process.env.PATH = [path.dirname(node), path.join(nodeModules, '.bin'), process.env.PATH].join(path.delimiter)
  if (node === process.execPath) {
    process.argv = [node, file, ...args]
    return import(pathToFileURL(file).href).catch((error) => {
      process.stderr.write(`${error?.stack ?? error}\n`)
      process.exitCode = 2
    })
  }
  const child = spawn(node, [file, ...args], { stdio: 'inherit' })
  // A terminal sends Ctrl-C to the child as well: forwarding it too would look like a second, impatient one.
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => child.kill(signal))
  process.on('SIGINT', () => (process.stdin.isTTY ? undefined : child.kill('SIGINT')))
  child.on('error', (error) => fail(`The packaged Node could not be started: ${error.message}`))
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
  process.stderr.write(`postern: ${text}\n`)
  process.exit(2)
}
