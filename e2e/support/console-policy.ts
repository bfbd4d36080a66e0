/** The pages of a draft as people use them: a new app, a rule changed, tried, published. */

import type { Page } from 'playwright'

/** Of a managed policy that begins as the rig's, whose apps are on this machine. */
export const managed = { policy: 'managed', policy_seed: 'policy.yaml', upstreams: { allow: ['127.0.0.0/8'] } } as const

export interface NewApp {
  readonly id: string
  readonly name: string
  readonly url: string
  readonly upstream: string
  /** A group that may come in. */
  readonly group: string
}

/** Fills in a new app from the list of apps on, and begins its draft. */
export async function beginNewApp(page: Page, { group, id, name, upstream, url }: NewApp): Promise<void> {
  await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'Apps' }).click()
  await page.getByRole('link', { name: 'New app' }).click()
  await page.getByLabel('Name', { exact: true }).fill(name)
  await page.getByLabel('Id', { exact: true }).fill(id)
  await page.getByLabel('Public address').fill(url)
  await page.getByLabel('Upstream', { exact: true }).fill(upstream)
  await page.getByRole('button', { name: 'Check that it answers' }).click()
  await page
    .getByRole('status')
    .filter({ hasText: /answer/i })
    .waitFor()
  await page.getByLabel('Kind').selectOption('groups')
  await page.locator('#who-0').fill(group)
  await page.getByRole('button', { name: 'Begin the draft' }).click()
  await page.getByRole('link', { name: 'Try and publish' }).waitFor()
}

/** From the page of an app in force to a draft in which one rule has another group, by its form. */
export async function changeGroupOfRule(page: Page, rule: string, group: string): Promise<void> {
  await page.getByRole('button', { name: 'Change in a draft' }).click()
  await page.getByRole('region', { name: 'Table of rules' }).getByRole('link', { name: rule, exact: true }).click()
  await page.locator('section[aria-labelledby="rule-who"] .rule-row input').first().fill(group)
  await page.getByRole('button', { name: 'Save in the draft' }).click()
  await page.locator('.notice-bar.good').waitFor()
}

/** Goes to the page of a draft and waits until it was tried. */
export async function tryDraft(page: Page): Promise<void> {
  await page
    .getByRole('link', { name: /^(?:Try and publish|Draft)$/ })
    .first()
    .click()
  await awaitTrial(page)
}

export async function awaitTrial(page: Page): Promise<void> {
  await page.locator('#part-changes:not([data-draft-pending])').waitFor()
}

/** Types what has to be typed, and publishes. Resolves when the revision is shown; gives when that was asked for (epoch milliseconds). */
export async function publish(page: Page, comment?: string): Promise<number> {
  await awaitTrial(page)
  const form = page.locator('#part-publish form[action$="/publish"]')
  if (comment !== undefined) await form.getByLabel('What the history will say').fill(comment)
  for (const label of await form.locator('.draft-gates label').all()) {
    const word = await label.locator('.mono').innerText()
    await form.locator(`#${await label.getAttribute('for')}`).fill(word)
  }
  const at = Date.now()
  await form.getByRole('button', { name: 'Publish' }).click()
  await page.locator('.notice-bar.good', { hasText: 'is published' }).waitFor()
  return at
}

/** The path of the draft that a page is about. */
export function draftPath(page: Page): string {
  return /^\/console\/policy\/drafts\/[^/]+/.exec(new URL(page.url()).pathname)?.[0] ?? ''
}
