/**
 * `docker-compose up --build`, driven by a browser: the main story against the containers, and each of them restarted in the middle.
 *
 * Needs Docker with the three base images, and the ports 8080 and 8081, which the compose file names. Where they are missing
 * the story does not run, and says why. The project has a name of its own; its containers and volumes are removed at the end.
 */

import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Browser, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findFreePort } from '../src/demo/free-port.ts'
import { launchBrowser } from './support/browser.ts'
import { Client } from './support/client.ts'
import { createKeycloakAdmin } from './support/keycloak.ts'
import { signInAtKeycloak } from './support/page.ts'
import { waitFor } from './support/rig.ts'
import { everybody, type Stage, signOutEverywhere, tellTheStory } from './support/story.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..')
const project = 'postern-e2e'
const images = ['node:24-bookworm-slim', 'redis:7-bookworm', 'quay.io/keycloak/keycloak:26.7.0']
const longMs = 900_000
const restartMs = 300_000

const composeCommand = findCompose()
const obstacle = await findObstacle()
if (obstacle !== undefined) console.log(`The compose story does not run: ${obstacle}.`)

describe.skipIf(obstacle !== undefined)('docker-compose', () => {
  let browser: Browser
  let stage: Stage

  beforeAll(async () => {
    await compose('up', '-d', '--build')
    await answers('http://access.corp.localhost:8080/')
    browser = await launchBrowser()
    stage = {
      browser,
      origin: (name) => `http://${name}.corp.localhost:8080`,
      signIn: (page, person) => signInAtKeycloak(page, person, `${person}-demo`),
      isAtProvider: (url) => url.startsWith('http://login.corp.localhost:8081/realms/corp'),
    }
  }, longMs)

  afterAll(async () => {
    await browser?.close()
    await compose('down', '-v')
  }, longMs)

  for (const expectation of everybody) {
    const { person, opens } = expectation
    test(`${person} opens ${opens.join(' and ')} after one sign-in, and nothing else`, () => tellTheStory(stage, expectation), restartMs)
  }

  test('signing out ends it here and at Keycloak', () => signOutEverywhere(stage, 'alice'))

  test('Keycloak reaches the back-channel address under its public name', async () => {
    const page = await open('bob')
    const admin = createKeycloakAdmin('http://127.0.0.1:8081', 'admin-demo')
    await admin.request('POST', `/users/${await admin.findUserId('bob')}/logout`)
    await waitFor(async () => (await statusOf(page)) === 401, 15_000)
    await page.context().close()
  })

  test('Postern runs without privileges, on a file system it cannot write to, without development packages', async () => {
    const { stdout } = await compose(
      'exec',
      '-T',
      'postern',
      'sh',
      '-c',
      'id -u; touch /app/x 2>&1; ls node_modules; grep CapEff /proc/1/status',
    )
    expect(stdout).toMatch(/^1000\n/)
    expect(stdout).toContain('Read-only file system')
    expect(stdout).toContain('express')
    expect(stdout).not.toMatch(/^(typescript|vitest|playwright|oidc-provider|ws)$/m)
    expect(stdout).toContain('CapEff:\t0000000000000000')
  })

  test.each(['redis', 'postern', 'keycloak'])(
    'a restart of %s in the middle asks nobody to sign in again, and lets nobody in',
    async (service) => {
      const page = await open('alice')
      const ended = await endedClient('bob')
      const restarting = compose('restart', service)
      let isOver = false
      const marked = restarting.finally(() => {
        isOver = true
      })
      while (!isOver) expect([401, 503, 0]).toContain(await ended())
      await marked
      await waitFor(async () => (await ended()) === 401, restartMs / 2)
      await waitFor(async () => (await statusOf(page)) === 200, restartMs / 2)
      if (service === 'keycloak') await answers('http://login.corp.localhost:8081/realms/corp')
      await tellTheStory(stage, { person: 'carol', opens: ['wiki'], refused: ['board', 'payroll'] })
      await page.context().close()
    },
    restartMs,
  )

  test(
    'a second `up` keeps sessions, ends and keys',
    async () => {
      const page = await open('alice')
      const ended = await endedClient('bob')
      const keys = await jwks()
      await compose('down')
      await compose('up', '-d')
      await waitFor(async () => (await ended()) === 401, restartMs / 2)
      expect(await statusOf(page)).toBe(200)
      expect(await jwks()).toBe(keys)
      await page.context().close()
    },
    longMs,
  )

  async function open(person: string): Promise<Page> {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${stage.origin('wiki')}/`)
    await stage.signIn(page, person)
    await page.waitForURL(`${stage.origin('wiki')}/`)
    return page
  }

  /** What the page's own script gets from its app now; 0 where nothing answers. */
  function statusOf(page: Page): Promise<number> {
    return page.evaluate(() =>
      fetch('/assets/apps.css', { cache: 'no-store', headers: { accept: 'text/css' } }).then(
        (answer) => answer.status,
        () => 0,
      ),
    )
  }

  /** Requests with the cookie of a session that was signed out; 0 where nothing answers. */
  async function endedClient(person: string): Promise<() => Promise<number>> {
    const page = await open(person)
    const cookies = await page.context().cookies(stage.origin('wiki'))
    const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
    await page.goto(`${stage.origin('wiki')}/.postern/sign-out`)
    await page.locator('main form button').click()
    await page.waitForURL(`${stage.origin('access')}/signed-out**`)
    await page.context().close()
    return () =>
      new Client().send(`${stage.origin('wiki')}/`, { as: 'fetch', headers: { cookie } }).then(
        ({ status }) => status,
        () => 0,
      )
  }

  async function jwks(): Promise<string> {
    return (await new Client().send(`${stage.origin('access')}/.postern/jwks.json`, { as: 'fetch' })).body
  }
})

function compose(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const [program = 'docker-compose', ...before] = composeCommand ?? []
  return run(program, [...before, '-p', project, ...args], { cwd: root, maxBuffer: 64 * 1024 * 1024 })
}

function findCompose(): readonly string[] | undefined {
  return [['docker', 'compose'], ['docker-compose']].find(([program = '', ...args]) => succeeds(program, [...args, 'version']))
}

async function findObstacle(): Promise<string | undefined> {
  if (!succeeds('docker', ['info'])) return 'Docker does not answer'
  if (composeCommand === undefined) return 'there is neither `docker compose` nor `docker-compose`'
  const missing = images.filter((image) => !succeeds('docker', ['image', 'inspect', image]))
  if (missing.length > 0) return `images are missing: ${missing.join(', ')}`
  for (const port of [8080, 8081]) if ((await findFreePort(port)) !== port) return `port ${port} is in use`
  return undefined
}

function succeeds(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore', timeout: 20_000 })
    return true
  } catch {
    return false // not there, or not in order: the caller says what it means
  }
}

async function answers(url: string): Promise<void> {
  const isUp = () =>
    new Client().send(url, { as: 'fetch' }).then(
      ({ status }) => status < 500,
      () => false,
    )
  await waitFor(isUp, restartMs / 2)
}
