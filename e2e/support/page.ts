/** Steps that several browser stories share: signing in at a provider's page, and noticing what a page complains about. */

import type { BrowserContext, Page } from 'playwright'

/** Chooses `person` on the demo provider's page, if the browser is there. */
export async function chooseAtDemoProvider(page: Page, person: string): Promise<void> {
  await page.waitForURL(/\/interaction\//)
  await page.locator(`button[name="person"][value="${person}"]`).click()
}

/** Types the code that the demo provider shows. */
export async function typeCodeAtDemoProvider(page: Page): Promise<void> {
  await page.locator('#code').fill((await page.locator('p.code').innerText()).trim())
  await page.locator('button.primary').click()
}

/** Signs in at Keycloak's own page. */
export async function signInAtKeycloak(page: Page, name: string, password: string): Promise<void> {
  await page.locator('#username').fill(name)
  await page.locator('#password').fill(password)
  await page.locator('#kc-login').click()
}

/** Errors that pages of a context report: uncaught ones and refused content. What a test expects is its own business. */
export function collectComplaints(context: BrowserContext): string[] {
  const complaints: string[] = []
  context.on('weberror', (error) => complaints.push(String(error.error())))
  context.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy|Refused to/.test(message.text())) complaints.push(message.text())
  })
  return complaints
}
