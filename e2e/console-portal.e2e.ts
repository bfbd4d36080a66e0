/**
 * The employee's own pages as alice, bob and carol: what opens, what does not with each kind of reason and what would help, what does not
 * announce itself, their devices, what is known about them, and a request for access that an admin answers. Two instances on one Redis.
 */

import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findBarriers } from './support/accessibility.ts'
import { type Seat, type Stage, startStage } from './support/console.ts'
import { waitFor } from './support/rig.ts'

/** An hour that is not now, in UTC, as rules write it: the end of a day is `24:00` there, never `00:00`. */
function anotherTime(): string {
  const from = (new Date().getUTCHours() + 3) % 24
  const clock = (hour: number) => `${String(hour).padStart(2, '0')}:00`
  return `${clock(from)}-${clock(from + 1)}`
}

describe('the portal', () => {
  let stage: Stage
  const seats = new Map<string, Seat>()

  beforeAll(async () => {
    const staff = { groups: ['staff'] }
    stage = await startStage({
      // The demo's provider says nothing of devices: here everybody has the one that is called as they are.
      provider: { claims: { groups: ['groups'], device_id: 'sub' } },
      configuration: { requests: 'on' },
      policy: { zone: 'UTC' },
      apps: [
        { id: 'wiki', name: 'Wiki', rules: [{ name: 'staff', allow: staff }] },
        {
          id: 'payroll',
          name: 'Payroll',
          portal: 'listed',
          help: 'Ask payroll@corp.example',
          rules: [{ name: 'finance', allow: { groups: ['finance'] } }],
        },
        { id: 'vault', name: 'Vault', rules: [{ name: 'fresh', allow: staff, when: [{ sign_in: { within: '1s' } }] }] },
        { id: 'night', name: 'Night shift', rules: [{ name: 'at night', allow: staff, when: [{ time: { between: anotherTime() } }] }] },
        {
          id: 'lab',
          name: 'Lab',
          rules: [{ name: 'known devices', allow: staff, when: [{ device: { known: true, disk_encrypted: true } }] }],
        },
        { id: 'plant', name: 'Plant', rules: [{ name: 'on site', allow: staff, when: [{ network: { cidrs: ['10.99.0.0/16'] } }] }] },
        { id: 'layoffs', name: 'Layoffs', rules: [{ name: 'board', allow: { groups: ['board'] } }] },
        { id: 'project-x', name: 'Project X', portal: 'hidden', rules: [{ name: 'staff', allow: staff }] },
      ],
    })
    for (const [person, instance] of [
      ['alice', 0],
      ['bob', 1],
      ['carol', 1],
    ] as const)
      seats.set(person, await stage.seat(person, { instance, url: stage.at('/') }))
  })
  afterAll(() => stage?.close())

  function pageOf(person: string): Page {
    const seat = seats.get(person)
    if (seat === undefined) throw new Error(`${person} is not seated`)
    return seat.page
  }
  const open = (page: Page) => page.locator('.card h2').allInnerTexts()
  const closed = (page: Page) => page.locator('.closed-card h3').allInnerTexts()
  const words = (page: Page, app: string) => page.locator('.closed-card', { hasText: app }).innerText()

  test.each([
    ['alice', ['Vault', 'Wiki'], ['Lab', 'Night shift', 'Payroll', 'Plant']],
    ['bob', ['Payroll', 'Vault', 'Wiki'], ['Lab', 'Night shift', 'Plant']],
    ['carol', [], ['Payroll']],
  ] as const)('%s finds what opens, and what does not', async (person, opens, shut) => {
    const page = pageOf(person)
    await page.goto(stage.at('/'))
    expect(await open(page)).toEqual(opens)
    expect(await closed(page)).toEqual(shut)
  })

  test('each that is closed says why, and what would help', async () => {
    const page = pageOf('alice')
    await page.goto(stage.at('/'))
    expect(await words(page, 'Night shift')).toContain('Come back later')
    expect(await words(page, 'Plant')).toContain('Use another network')
    expect(await words(page, 'Lab')).toMatch(/Have this device registered|Use a device of your company/)
    const payroll = await words(page, 'Payroll')
    expect(payroll).toContain('Ask for access')
    expect(payroll).toContain('payroll@corp.example')
    // A better sign-in is a way in, so it stands with those that open.
    await waitFor(async () => {
      await page.goto(stage.at('/'))
      return (await page.locator('.card', { hasText: 'Vault' }).locator('.step-up').count()) === 1
    })
    expect(await page.locator('.card', { hasText: 'Vault' }).locator('.step-up').innerText()).toMatch(/sign in/i)
  })

  test.each(['alice', 'bob', 'carol'])('nothing tells %s of an app that must not announce itself', async (person) => {
    const page = pageOf(person)
    const unknown = person === 'carol' ? /layoffs|project.?x|night|lab\.|plant|vault|wiki/i : /layoffs|project.?x/i
    for (const path of ['/', '/?q=layoffs', '/devices', '/privacy', '/requests']) {
      const answer = await page.goto(stage.at(path))
      expect([path, answer?.status()]).toEqual([path, 200])
      const body = ((await answer?.text()) ?? '').replaceAll('q=layoffs', '').replaceAll('value="layoffs"', '')
      expect(body, path).not.toMatch(unknown)
    }
  })

  test('a device that is registered, and one that is not, with what to mend', async () => {
    const admin = pageOf('alice')
    await admin.goto(stage.at('/console/devices'))
    await admin.getByText('Register a device').click()
    await admin.getByLabel('Id', { exact: true }).fill('bob')
    await admin.getByLabel('Name', { exact: true }).fill('Laptop of Bob')
    await admin.getByRole('button', { name: 'Register' }).click()
    await admin.locator('.notice-bar.good').waitFor()
    const bob = pageOf('bob')
    await waitFor(async () => {
      await bob.goto(stage.at('/devices'))
      return (await bob.locator('main').innerText()).includes('Laptop of Bob')
    })
    expect(await bob.locator('main').innerText()).toContain('Lab')
    await bob.goto(stage.at('/'))
    expect(await words(bob, 'Lab')).not.toContain('Have this device registered')
  })

  test('what is known about oneself, and nothing of others', async () => {
    const page = pageOf('bob')
    await page.goto(`${stage.rig.origin('wiki')}/`)
    await waitFor(async () => {
      await page.goto(stage.at('/privacy'))
      return (await page.locator('section[aria-labelledby="recent"]').innerText()).includes('Wiki')
    })
    const text = await page.locator('main').innerText()
    expect(text).toContain('bob@corp.example')
    expect(text).toContain('finance')
    expect(text).not.toMatch(/alice|carol/i)
  })

  test('access is asked for, an admin answers, and the person reads it', async () => {
    const carol = pageOf('carol')
    await carol.goto(stage.at('/'))
    await carol.locator('.closed-card', { hasText: 'Payroll' }).getByText('Request access').click()
    await carol.getByLabel('Why do you need it?').fill('I cover for Bob in December')
    await carol.getByRole('button', { name: 'Send request' }).click()
    await carol.waitForURL(stage.at('/requests'))
    expect(await carol.locator('main').innerText()).toContain('I cover for Bob in December')

    const admin = pageOf('alice')
    await admin.goto(stage.at('/console'))
    await admin.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'Requests' }).click()
    const request = admin.locator('section.panel', { hasText: 'I cover for Bob in December' })
    expect(await request.innerText()).toContain('carol')
    await request.getByLabel('Note to the person').fill('Ask your manager to add you to finance')
    await request.getByRole('button', { name: 'Answer' }).click()
    await admin.locator('.notice-bar.good').waitFor()
    await waitFor(async () => {
      await carol.goto(stage.at('/requests'))
      return (await carol.locator('main').innerText()).includes('Ask your manager to add you to finance')
    })
    // A request by itself opens nothing.
    expect((await carol.goto(`${stage.rig.origin('payroll')}/`))?.status()).toBe(403)
  })

  test('every page of it is accessible, light and dark, and quiet', async () => {
    const page = pageOf('bob')
    const found: string[] = []
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      for (const path of ['/', '/devices', '/privacy', '/requests', '/sessions']) {
        await page.goto(stage.at(path))
        for (const barrier of await findBarriers(page)) found.push(`${colorScheme} ${path}: ${barrier}`)
      }
    }
    expect(found).toEqual([])
    expect([...seats.values()].flatMap(({ complaints }) => complaints)).toEqual([])
  })
})

describe('the portal of somebody with many apps', () => {
  let stage: Stage

  beforeAll(async () => {
    stage = await startStage({
      apps: Array.from({ length: 230 }, (_, index) => ({
        id: `tool-${index}`,
        name: `Tool ${index}`,
        portal: 'listed' as const,
        rules: [{ name: 'some', allow: { groups: [index < 120 ? 'staff' : 'board'] } }],
      })),
    })
  })
  afterAll(() => stage?.close())

  const cards = (page: Page) => page.locator('.card:visible, .closed-card:visible').count()

  test('comes in pages that are turned and searched without script', async () => {
    const { complaints, context, page } = await stage.seat('alice', { url: stage.at('/'), browser: { javaScriptEnabled: false } })
    await page.goto(stage.at('/'))
    expect(await cards(page)).toBe(100)
    expect(await page.locator('.closed-card').count()).toBe(0)
    await page.getByText('Your 230 apps: 1 to 100 on this page').waitFor()
    await page.getByRole('link', { name: 'Next' }).click()
    expect(await page.locator('.card h2').first().innerText()).toBe('Tool 100')
    expect(await page.locator('.closed-card').count()).toBe(40)
    await page.getByText('Page 2 of 4, 70 more apps on the next pages').waitFor()
    await page.getByLabel('Search your apps').fill('tool 22')
    await page.getByRole('button', { name: 'Search' }).click()
    expect(await page.locator('.card h2, .closed-card h3').allInnerTexts()).toEqual([
      ...['Tool 22', 'Tool 122'],
      ...Array.from({ length: 10 }, (_, index) => `Tool ${220 + index}`),
    ])
    await page.getByRole('link', { name: 'Show all apps' }).first().click()
    expect(await cards(page)).toBe(100)
    expect(complaints).toEqual([])
    await context.close()
  })

  test('is searched whole with script as well: typing hides nothing, Enter asks', async () => {
    const { complaints, context, page } = await stage.seat('alice', { url: stage.at('/') })
    await page.goto(stage.at('/'))
    await page.keyboard.press('/')
    await page.keyboard.type('tool 229')
    expect(await cards(page)).toBe(100)
    await page.keyboard.press('Enter')
    await page.waitForURL(stage.at('/?q=tool+229'))
    expect(await page.locator('.closed-card h3').allInnerTexts()).toEqual(['Tool 229'])
    await page.goto(stage.at('/?q=nothing+like+it'))
    await page.getByText('No app matches.').waitFor()
    await page.locator('[data-search-none] a').click()
    await page.waitForURL(stage.at('/'))
    for (const path of ['/', '/?page=3']) {
      await page.goto(stage.at(path))
      expect([path, await findBarriers(page)]).toEqual([path, []])
    }
    expect(complaints).toEqual([])
    await context.close()
  })
})
