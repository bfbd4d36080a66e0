/**
 * The main story, told by a real browser: one sign-in, many apps, each decided for this person. The same against every provider.
 */

import type { Browser, Page } from 'playwright'
import { expect } from 'vitest'
import { Client } from './client.ts'
import { collectComplaints } from './page.ts'

export interface Stage {
  readonly browser: Browser
  /** `http://access.corp.localhost:PORT` and so on. */
  origin(name: 'access' | 'wiki' | 'board' | 'payroll'): string
  /** Called when the browser stands at the provider's page. */
  signIn(page: Page, person: string): Promise<void>
  /** Called when an app wants a second factor; without it none does. */
  stepUp?(page: Page): Promise<void>
  /** Whether the browser stands at the provider. */
  isAtProvider(url: string): boolean
}

/** What one person should find. */
export interface Expectation {
  readonly person: 'alice' | 'bob' | 'carol'
  readonly opens: readonly ('wiki' | 'board' | 'payroll')[]
  readonly refused: readonly ('wiki' | 'board' | 'payroll')[]
}

export const everybody: readonly Expectation[] = [
  { person: 'alice', opens: ['wiki', 'board'], refused: ['payroll'] },
  { person: 'bob', opens: ['wiki', 'payroll'], refused: ['board'] },
  { person: 'carol', opens: ['wiki'], refused: ['board', 'payroll'] },
]

/** Opens everything as one person in a fresh browser profile. Throws at the first thing that is not as it should be. */
export async function tellTheStory(stage: Stage, { person, opens, refused }: Expectation): Promise<void> {
  const context = await stage.browser.newContext()
  const complaints = collectComplaints(context)
  try {
    const page = await context.newPage()
    await page.goto(`${stage.origin('wiki')}/`)
    expect(stage.isAtProvider(page.url())).toBe(true)
    await stage.signIn(page, person)
    await page.waitForURL(`${stage.origin('wiki')}/`)
    await expectHeading(page, 'Wiki')

    for (const app of opens) {
      const answer = await page.goto(`${stage.origin(app)}/`)
      expect(answer?.status(), `${person} opens ${app}`).toBe(200)
      if (app === 'payroll' && stage.stepUp !== undefined) {
        expect(stage.isAtProvider(page.url()), `${person} is asked for a second factor at ${app}`).toBe(true)
        await stage.stepUp(page)
        await page.waitForURL(`${stage.origin(app)}/`)
      }
      expect(page.url(), `${person} is not asked to sign in again`).toBe(`${stage.origin(app)}/`)
      if (app === 'board') await useBoard(page, person)
      if (app === 'payroll') await page.locator('#runs tr').first().waitFor()
    }
    for (const app of refused) {
      const answer = await page.goto(`${stage.origin(app)}/`)
      expect(answer?.status(), `${person} is refused at ${app}`).toBe(403)
      expect(answer?.headers()['x-postern']).toBe('no_rule_matched')
      const text = await page.locator('main').innerText()
      expect(text).toContain('What would help')
      expect(text).toContain((await answer?.headerValue('x-postern-request')) ?? 'a request id')
    }

    await page.goto(`${stage.origin('access')}/`)
    const cards = await page.locator('.card h2 a').evaluateAll((links) => links.map((link) => link.getAttribute('href') ?? ''))
    expect(cards.map((href) => new URL(href).origin).sort((a, b) => a.localeCompare(b))).toEqual(
      opens.map((app) => stage.origin(app)).sort((a, b) => a.localeCompare(b)),
    )
    await page.locator('#q').fill(opens[0] ?? '')
    expect(await page.locator('.card:visible').count()).toBeGreaterThanOrEqual(1)
    await page.locator('#q').fill('zzz-no-such-app')
    expect(await page.locator('.card:visible').count()).toBe(0)
    expect(complaints).toEqual([])
  } finally {
    await context.close()
  }
}

/** The chat answers over its WebSocket, the ticker over its event stream. */
async function useBoard(page: Page, person: string): Promise<void> {
  await page.locator('#chat-state[data-state="on"]').waitFor()
  await page.locator('#ticker-state[data-state="on"]').waitFor()
  const text = `hello from ${person} at ${Date.now()}`
  await page.locator('#text').fill(text)
  await page.locator('#write button').click()
  await page.locator('#messages li', { hasText: text }).waitFor()
  await page.locator('#news li').first().waitFor()
}

/** Signs out at the access host and shows that the old page is closed and the provider asks again. */
export async function signOutEverywhere(stage: Stage, person: string): Promise<void> {
  const context = await stage.browser.newContext()
  try {
    const page = await context.newPage()
    await page.goto(`${stage.origin('wiki')}/`)
    await stage.signIn(page, person)
    await page.waitForURL(`${stage.origin('wiki')}/`)
    const before = await context.cookies(stage.origin('wiki'))
    await page.goto(`${stage.origin('wiki')}/.postern/sign-out`)
    await page.locator('main form button').click()
    await page.waitForURL(`${stage.origin('access')}/signed-out**`)
    const cookie = before.map(({ name, value }) => `${name}=${value}`).join('; ')
    expect((await new Client().send(`${stage.origin('wiki')}/`, { as: 'fetch', headers: { cookie } })).status).toBe(401)
    await page.goto(`${stage.origin('wiki')}/`)
    expect(stage.isAtProvider(page.url())).toBe(true)
  } finally {
    await context.close()
  }
}

async function expectHeading(page: Page, text: string): Promise<void> {
  expect(await page.locator('h1').first().innerText()).toBe(text)
}
