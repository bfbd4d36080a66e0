/** A file sink beside logrotate, crashes and full disks; and standard output beside the log. */

import { spawn } from 'node:child_process'
import { appendFile, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTestChain, type TestChain, until } from '../follow.fixture.ts'
import { createFollower, type Follower } from '../follow.ts'
import type { LineConsumer } from '../follow-batch.ts'
import { createFileSink } from './file.ts'

let folder: string
let file: string
let chain: TestChain
const closers: (() => Promise<void>)[] = []
const log = { info: () => undefined, warn: () => undefined, error: () => undefined }

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-file-sink-'))
  file = join(folder, 'trail.ndjson')
  chain = await createTestChain(join(folder, 'audit'), 'host-0')
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  await rm(folder, { recursive: true, force: true })
})

function start(consumer: LineConsumer = createFileSink(file)): Follower {
  const follower = createFollower({
    folder: join(folder, 'audit'),
    chain: 'host-0',
    positionFile: join(folder, 'positions', 'position.json'),
    name: 'file',
    consumer,
    now: Date.now,
    log,
    lookMs: 5,
    leastPauseMs: 5,
    batchLines: 10,
  })
  closers.push(async () => {
    await follower.close()
    await consumer.close?.()
  })
  return follower
}

const linesIn = async (path: string) => (await readFile(path, 'utf8')).split('\n').slice(0, -1)

describe('a file', () => {
  it('has every line, readable for its owner alone, and goes on where it was after a restart', async () => {
    await chain.grow(1, 25)
    const first = start()
    await until(() => first.status().sent === 25)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    for (const close of closers.splice(0)) await close()
    await chain.grow(1, 10)
    const second = start()
    await until(() => second.status().sent === 10)
    expect(await linesIn(file)).toEqual(chain.lines)
  })

  it('that is renamed or removed is begun anew under its name, and none of its lines is lost', async () => {
    const follower = start()
    await chain.grow(1, 10)
    await until(() => follower.status().sent === 10)
    await rename(file, `${file}.1`)
    await chain.grow(1, 10)
    await until(() => follower.status().sent === 20)
    await rename(file, `${file}.2`)
    await writeFile(file, '')
    await chain.grow(1, 5)
    await until(() => follower.status().sent === 25)
    expect([...(await linesIn(`${file}.1`)), ...(await linesIn(`${file}.2`)), ...(await linesIn(file))]).toEqual(chain.lines)
  })

  it('with half a line at its end, from a crash, keeps that on a line of its own', async () => {
    await appendFile(file, '{"half')
    await chain.grow(1, 3)
    const follower = start()
    await until(() => follower.status().sent === 3)
    expect(await linesIn(file)).toEqual(['{"half', ...chain.lines])
  })

  it('that cannot be opened is waited for', async () => {
    await rm(file, { force: true })
    await chain.grow(1, 3)
    const follower = start(createFileSink(join(folder, 'not-yet', 'trail.ndjson')))
    await until(() => follower.status().failures > 1)
    expect(follower.status().lastError).toBe('the file cannot be written: ENOENT')
    const { mkdir } = await import('node:fs/promises')
    await mkdir(join(folder, 'not-yet'))
    await until(() => follower.status().sent === 3)
  })
})

describe('standard output', () => {
  it('has the lines of the trail whole between those of the log, also into a pipe that is read slowly', async () => {
    await chain.grow(1, 300, 9000)
    const child = spawn(process.execPath, [join(import.meta.dirname, 'stdout.fixture.ts'), folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8')
      child.stdout.pause()
      setTimeout(() => child.stdout.resume(), 1)
    })
    await ended
    await until(() => child.stdout.readableEnded)
    const lines = text.split('\n').slice(0, -1)
    for (const line of lines) JSON.parse(line)
    expect(lines.filter((line) => line.startsWith('{"seq"'))).toEqual(chain.lines)
    expect(lines.filter((line) => line.includes('"msg":"between')).length).toBeGreaterThan(100)
  })
})
