/**
 * The browser of every browser test: one Chromium, quiet, without a sandbox (test machines often run as root in a container).
 *
 * `POSTERN_TEST_CHROMIUM` names it; else a Chromium or Chrome on PATH; else Playwright's own. Chromium resolves
 * `*.corp.localhost` to loopback by itself, so no test needs a name server.
 */

import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, type BrowserContext, chromium } from 'playwright'
import { noteAnswer, noteRequest } from './secret-watch.ts'

const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/**
 * Features that no test has: each window renders the suggestions of an address bar that nobody sees, which is most of what a window costs.
 * The last list given counts, so that the one of Playwright is repeated before it.
 */
const absentFeatures = [
  ...['AvoidCorsURLLoaderRestartOnRedirect', 'AvoidUnnecessaryBeforeUnloadCheckSync', 'DestroyProfileOnBrowserClose', 'HttpsUpgrades'],
  ...['HttpsFirstBalancedModeAutoEnable', 'LensOverlay', 'MediaRouter', 'PaintHolding', 'ThirdPartyStoragePartitioning'],
  ...['OptimizationHints', 'NetworkTimeServiceQuerying', 'AimEnabled', 'PreconnectToSearch'],
  ...['WebUIOmniboxPopup', 'WebUIOmniboxAimPopup'],
]

/** Launches the browser; the caller closes it. Rejects with a sentence that says what to install. */
export async function launchBrowser(): Promise<Browser> {
  const executablePath = findChromium()
  try {
    const browser = await chromium.launch({
      ...(executablePath === undefined ? {} : { executablePath }),
      headless: true,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        `--disable-features=${absentFeatures.join(',')}`,
      ],
    })
    return watchContexts(browser)
  } catch (cause) {
    const what = executablePath ?? 'the browser of Playwright'
    throw new Error(`Could not start ${what}. Install Chromium (Debian: chromium) or name one in POSTERN_TEST_CHROMIUM.`, { cause })
  }
}

/** Every secret that comes by in any profile is noted, so that it can be looked for where it must not be. */
function watchContexts(browser: Browser): Browser {
  const open = browser.newContext.bind(browser)
  browser.newContext = async (...options) => watch(await open(...options))
  return browser
}

function watch(context: BrowserContext): BrowserContext {
  context.on('request', (request) => noteRequest(request.url(), request.headers(), request.postData() ?? undefined))
  context.on('response', (response) => {
    if (!['document', 'fetch', 'xhr'].includes(response.request().resourceType())) return
    response.headersArray().then(
      (headers) => {
        const cookies = headers.filter(({ name }) => name.toLowerCase() === 'set-cookie').map(({ value }) => value)
        noteAnswer(cookies, headers.find(({ name }) => name.toLowerCase() === 'location')?.value, '')
      },
      // The page was closed meanwhile; what its next request sends is noted as well.
      () => undefined,
    )
  })
  return context
}

/** Path of the Chromium to use; `undefined` leaves it to Playwright. */
export function findChromium(): string | undefined {
  const named = process.env['POSTERN_TEST_CHROMIUM']
  if (named !== undefined && named !== '') return named
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    // Not there, or not for us: the next candidate is tried.
    return false
  }
}
