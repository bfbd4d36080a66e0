/**
 * Configurations that are wrong, in the very place where a password stands: no command repeats a word of it, at any log level, whether it ends there
 * or goes on to look for a store that does not answer.
 */

import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { findFreePort } from '../support/free-port.ts'
import { findSecrets, noteSecret } from '../support/secret-watch.ts'
import { attack, summarise } from './attack.ts'

describe('a configuration that is wrong where a password stands', () => {
  let folder: string
  const ports: number[] = []

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-broken-'))
    await writeFile(join(folder, 'policy.yaml'), 'apps: []\n')
    while (ports.length < 60) ports.push(await findFreePort())
    await writeFile(join(folder, 'whole.yaml'), JSON.stringify(whole()), { mode: 0o600 })
    expect((await runFor(['keys', 'generate', '--config', join(folder, 'whole.yaml')], {})).code).toBe(0)
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  /** In order, but for the store, which is not there. */
  const whole = () => ({
    url: 'http://access.corp.localhost:18080',
    listen: `127.0.0.1:${ports.shift()}`,
    operations: `127.0.0.1:${ports.shift()}`,
    provider: { issuer: 'http://login.corp.localhost:1', client_id: 'postern', client_secret: 'Vt4-mQ8zLp2xKd6wRh9bNs3cYf7gJt5e' },
    data_dir: join(folder, `data-${ports.length}`),
    keys_file: join(folder, 'keys.json'),
    policy: join(folder, 'policy.yaml'),
  })

  attack('A164b', 'LEAK', 'addresses of stores and configurations that are broken, with their passwords in them', async () => {
    const [word, other] = ['Gz8-kQ2vXw7rTn4pLs', 'Hb3_mYc9ZfJd6uWqEt']
    for (const one of [word, other]) noteSecret(one, 'a password of a store')
    const local = `${word}@127.0.0.1`
    const stores: readonly unknown[] = [
      `redis://:${local}:1/0`,
      `redis://:${word}@${other}@127.0.0.1:1`,
      `redis+sentinel://:${local}:1/main?sentinel_password=${other}`,
      `redis+cluster://:${local}:1,127.0.0.1:2`,
      `redis+sentinel://:${local}:1?x=${other}`,
      `redis://:${word}@[::1/0`,
      `redis://:${local}:99999`,
      `redis://:${word}@ho st/0`,
      `redis://:${local}:1/0?password=${other}`,
      `redis:/${word}`,
      `http://:${local}/`,
      `redis://:${word}/${other}@127.0.0.1:1`,
      `redis://:${word}#${other}@127.0.0.1:1`,
    ]
    const broken: readonly (readonly [string, string])[] = [
      ...stores.map((store, index) => [`store ${index}`, JSON.stringify({ ...whole(), session: { store } })] as const),
      [
        'an open quote',
        `url: http://access.corp.localhost:1\nprovider: { issuer: 'http://x.example', client_id: p, client_secret: "${word}`,
      ],
      [
        'a secret list',
        JSON.stringify({ ...whole(), secrets: { a: { b: word } }, provider: { client_sekret: word, client_secret: [other] } }),
      ],
      [
        'a secret in addresses',
        JSON.stringify({ ...whole(), url: `http://u:${word}@x.example`, provider: { issuer: `http://u:${other}@y.example` } }),
      ],
      ['a duplicate', `secrets: { a: ${word}, a: ${other} }\n`],
      ['an anchor', `secrets: { a: &x ${word}, b: *y }\n`],
      ['the environment', JSON.stringify({ ...whole(), listen: `\${STORE_PASSWORD}` })],
    ]
    const outcomes: string[] = []
    const run = async ([what, text]: readonly [string, string], index: number) => {
      const file = join(folder, `broken-${index}.yaml`)
      await writeFile(file, text, { mode: 0o600 })
      for (const args of [['serve', '--log-level', 'debug'], ...(index === 0 ? [['token', 'list'], ['check']] : [])]) {
        const { code, output } = await runFor([...args, '--config', file], { STORE_PASSWORD: word })
        const found = findSecrets(output, `${what}: ${args.join(' ')}`)
        if (found.length > 0) throw new Error(found.join('\n'))
        if ((code === 0 && args[0] !== 'check') || output === '') throw new Error(`${what}: ${args.join(' ')} went well`)
        outcomes.push(code === null ? 'waits' : `ends ${code}`)
      }
    }
    // Two at a time: each is a process of its own.
    const waiting = [...broken.entries()]
    const worker = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await run(next[1], next[0])
    }
    await Promise.all([worker(), worker()])
    // Four of them are written as they should be, and nobody answers there.
    expect(outcomes.filter((one) => one === 'waits')).toHaveLength(4)
    return summarise(outcomes)
  })

  /** Runs a command until it ends, or, if it waits for its store, until it has said so. */
  function runFor(
    args: readonly string[],
    more: Readonly<Record<string, string>>,
  ): Promise<{ readonly code: number | null; readonly output: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [join(import.meta.dirname, '../../src/cli.ts'), ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...more },
      })
      let output = ''
      let isWaiting = false
      const hear = (chunk: Buffer) => {
        output += chunk.toString('utf8')
        isWaiting = output.includes('"msg":"ready"')
        if (isWaiting) child.kill('SIGKILL')
      }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
      child.on('error', reject)
      child.on('close', (code) => resolve({ code: isWaiting ? null : code, output }))
    })
  }
})
