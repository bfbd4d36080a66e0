/**
 * The launcher in a checkout of its own: when it installs, what it says where it cannot, and that it leaves nothing behind.
 *
 * npm is a stand-in that notes each call, since what is judged is whether and how it is called. Version and system of the running
 * Node are replaced before the launcher reads them, so that every branch is seen on any machine.
 */

import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { waitFor } from './support/rig.ts'

const integrity = 'sha512-aaaa'
const here = { os: [process.platform], cpu: [process.arch] }
let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'postern-launcher-'))
  for (const folder of ['bin', 'src', 'dist', 'tools']) mkdirSync(join(root, folder))
  cpSync(join(import.meta.dirname, '..', 'bin', 'postern.cjs'), join(root, 'bin', 'postern.cjs'))
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(root, 'src', 'cli.ts'), '')
  writeFileSync(join(root, 'hello.ts'), 'console.log("hello", ...process.argv.slice(2))\nprocess.exitCode = 7\n')
  writeLock({ 'node_modules/one': { version: '1.0.0', integrity } })
  useNpm(`fs.mkdirSync('node_modules', { recursive: true })
    fs.writeFileSync('node_modules/.package-lock.json', fs.readFileSync('package-lock.json'))`)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

describe('the launcher', () => {
  test('installs once, then again only when the lockfile names other packages', () => {
    expect(launch(['--script', 'hello.ts', 'you'])).toMatchObject({ status: 7, stdout: 'hello you\n' })
    launch(['--script', 'hello.ts'])
    expect(npmCalls()).toHaveLength(1)
    expect(npmCalls()[0]).toMatch(/^ci --include=dev --include=optional/)

    writeLock({ 'node_modules/one': { version: '1.0.1', integrity } })
    launch(['--script', 'hello.ts'])
    launch(['--script', 'hello.ts'])
    expect(npmCalls()).toHaveLength(2)
  })

  test('leaves alone what was installed by hand, packages for other systems left out', () => {
    mkdirSync(join(root, 'node_modules'))
    writeFileSync(join(root, 'node_modules', '.package-lock.json'), readFileSync(join(root, 'package-lock.json')))
    writeLock({
      'node_modules/one': { version: '1.0.0', integrity },
      'node_modules/elsewhere': { version: '1.0.0', integrity, optional: true, os: ['plan9'] },
      'node_modules/of-elsewhere': { version: '1.0.0', integrity, optional: true },
    })
    expect(launch(['--script', 'hello.ts']).status).toBe(7)
    expect(npmCalls()).toEqual([])
  })

  test('installs an optional package for this system that was left out', () => {
    mkdirSync(join(root, 'node_modules'))
    writeFileSync(join(root, 'node_modules', '.package-lock.json'), readFileSync(join(root, 'package-lock.json')))
    writeLock({
      'node_modules/one': { version: '1.0.0', integrity },
      'node_modules/native': { version: '1.0.0', integrity, optional: true, ...here },
    })
    launch(['--script', 'hello.ts'])
    expect(npmCalls()).toEqual([expect.stringMatching(/^install --no-save /)])
  })

  test('starts nothing when the packages cannot be had, says so, and tries again next time', () => {
    useNpm("process.stderr.write('npm error code ECONNREFUSED\\n'); process.exit(1)")
    for (const calls of [1, 2]) {
      const { status, stdout, stderr } = launch(['--script', 'hello.ts'])
      expect(status).toBe(2)
      expect(stdout).toBe('')
      expect(stderr).toMatch(/ECONNREFUSED[\s\S]*nothing was started.*registry reachable/)
      expect(stderr).not.toMatch(/^ {4}at /m)
      expect(npmCalls()).toHaveLength(calls)
    }
  })

  test.each([
    { platform: 'darwin', arch: 'arm64' },
    { platform: 'linux', arch: 'riscv64' },
  ])('says which Node to install where there is no packaged one: $platform on $arch', ({ platform, arch }) => {
    const { status, stderr } = launch(['--script', 'hello.ts'], { platform, arch, version: '20.1.0' })
    expect(status).toBe(2)
    expect(stderr).toContain(`This is 20.1.0, and no packaged one is installed for ${platform} on ${arch}`)
    expect(stderr).toContain('Install Node 24')
    expect(stderr).not.toMatch(/^ {4}at /m)
  })

  test('continues in the packaged Node where this one is too old, with its exit status', () => {
    const folder = join(root, 'node_modules', `node-${process.platform}-${process.arch}`)
    mkdirSync(join(folder, 'bin'), { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{}')
    writeFileSync(join(folder, 'bin', 'node'), `#!/bin/sh\nexec "${process.execPath}" "$@"\n`, { mode: 0o755 })
    expect(launch(['--script', 'hello.ts', 'packaged'], { version: '18.0.0' })).toMatchObject({ status: 7, stdout: 'hello packaged\n' })
  })

  test('a signal while it installs ends npm as well, also an npm that takes its time', async () => {
    useNpm("process.on('SIGTERM', () => undefined); fs.writeFileSync('npm.pid', String(process.pid)); setInterval(() => undefined, 1000)")
    const child = spawn(process.execPath, [join(root, 'bin', 'postern.cjs'), '--script', 'hello.ts'], {
      env: environment(),
      stdio: 'ignore',
    })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    await waitFor(() => existsSync(join(root, 'npm.pid')) && readFileSync(join(root, 'npm.pid'), 'utf8') !== '')
    child.kill('SIGINT')
    expect(await ended).toBe(130)
    const npm = Number(readFileSync(join(root, 'npm.pid'), 'utf8'))
    expect(() => process.kill(npm, 0)).toThrow('ESRCH')
  })
})

function writeLock(packages: Readonly<Record<string, object>>): void {
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages: { '': {}, ...packages } }))
}

/** Makes the npm that the launcher finds: it notes its arguments, then runs `script`. */
function useNpm(script: string): void {
  const note = `const fs = require('node:fs'); fs.appendFileSync('npm-calls', process.argv.slice(2).join(' ') + '\\n');`
  writeFileSync(join(root, 'tools', 'npm-cli.cjs'), note + script)
}

function npmCalls(): readonly string[] {
  const file = join(root, 'npm-calls')
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, npm_execpath: join(root, 'tools', 'npm-cli.cjs') }
}

function launch(args: readonly string[], pretend: { readonly version?: string; readonly platform?: string; readonly arch?: string } = {}) {
  const { version, ...system } = pretend
  const lines = Object.entries(system).map(([key, value]) => `Object.defineProperty(process, '${key}', { value: '${value}' })`)
  if (version !== undefined) lines.push(`Object.defineProperty(process.versions, 'node', { value: '${version}' })`)
  const preload = join(root, 'tools', 'pretend.cjs')
  writeFileSync(preload, lines.join('\n'))
  return spawnSync(process.execPath, ['--require', preload, join(root, 'bin', 'postern.cjs'), ...args], {
    env: environment(),
    encoding: 'utf8',
    timeout: 20_000,
  })
}
