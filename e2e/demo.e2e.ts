/** `postern demo`, as `npm start` runs it: the main story in a browser, for each of its three people. */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchBrowser } from './support/browser.ts'
import { chooseAtDemoProvider, typeCodeAtDemoProvider } from './support/page.ts'
import { waitFor } from './support/rig.ts'
import { everybody, type Stage, signOutEverywhere, tellTheStory } from './support/story.ts'

describe('the demo', () => {
  let child: ChildProcess
  let folder: string
  let output = ''
  let browser: Browser
  let stage: Stage

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-demo-'))
    child = spawn(process.execPath, [join(import.meta.dirname, '..', 'src', 'cli.ts'), 'demo', '--data', folder], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output += chunk.toString('utf8')
      })
    }
    await waitFor(
      () => /Ctrl-C/.test(output) || child.exitCode !== null,
      30_000,
      () => output,
    )
    const access = /http:\/\/access\.corp\.localhost:(\d+)/.exec(output)
    if (access === null) throw new Error(`the demo printed no address:\n${output}`)
    browser = await launchBrowser()
    stage = {
      browser,
      origin: (name) => `http://${name}.corp.localhost:${access[1]}`,
      isAtProvider: (url) => new URL(url).hostname === 'login.corp.localhost',
      signIn: chooseAtDemoProvider,
      stepUp: typeCodeAtDemoProvider,
    }
  })
  afterAll(async () => {
    await browser.close()
    if (child.exitCode === null) {
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
      child.kill('SIGINT')
      await ended
    }
    await rm(folder, { recursive: true, force: true })
  })

  test('prints the addresses, who may open what, and things to try', () => {
    for (const name of ['access', 'wiki', 'board', 'payroll']) expect(output).toContain(stage.origin(name as 'wiki'))
    for (const person of ['alice', 'bob', 'carol']) expect(output.toLowerCase()).toContain(person)
  })
  for (const expectation of everybody) {
    test(`${expectation.person} opens ${expectation.opens.join(' and ')} after one sign-in, and nothing else`, () =>
      tellTheStory(stage, expectation))
  }
  test('signing out ends it here and at the provider', () => signOutEverywhere(stage, 'alice'))
  test('Ctrl-C stops it all', async () => {
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
    child.kill('SIGINT')
    expect(await ended).toBe(0)
  })
})
