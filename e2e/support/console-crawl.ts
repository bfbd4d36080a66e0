/**
 * Every page of the console that one can get to by its links, with what each offers: which forms, which ways on.
 *
 * Pages are told apart by their route: some of each are looked at, so that a list of a thousand is not a thousand visits. What is sent
 * is never sent from here: a visit changes nothing.
 */

import type { Page, Response } from 'playwright'
import type { ConsoleRoute } from './console-desk.ts'

export interface CrawledPage {
  readonly route: ConsoleRoute
  /** Path and query. */
  readonly path: string
  readonly answer: Response
}

export interface Crawl {
  readonly pages: readonly { readonly route: ConsoleRoute; readonly path: string }[]
  /** Routes that some button would send to. */
  readonly forms: ReadonlySet<ConsoleRoute>
  /** Routes that some link, or a form that only asks, leads to; also those that were not visited. */
  readonly links: ReadonlySet<ConsoleRoute>
  /** Addresses below `/console` that no route answers. */
  readonly astray: readonly string[]
}

export interface CrawlWish {
  /** Of the access host. */
  readonly origin: string
  readonly routes: readonly ConsoleRoute[]
  /** Where to begin; `/console`, if left out. */
  readonly begin?: readonly string[]
  /** How many pages of one route are looked at, in the order in which they are found; 3, if left out. */
  readonly mostOfRoute?: number
  /** Called on each page while the browser stands on it. */
  readonly look?: (page: CrawledPage) => Promise<void>
}

/** Goes through everything. */
export async function crawlConsole(page: Page, { begin = ['/console'], look, mostOfRoute = 3, origin, routes }: CrawlWish): Promise<Crawl> {
  const pages: { route: ConsoleRoute; path: string }[] = []
  const forms = new Set<ConsoleRoute>()
  const links = new Set<ConsoleRoute>()
  const astray = new Set<string>()
  const seen = new Set<string>()
  const waiting = [...begin]
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    const route = findRoute(routes, 'GET', path)
    if (route === undefined) {
      astray.add(path)
      continue
    }
    links.add(route)
    if (seen.has(path) || isDownload(path) || pages.filter((one) => one.route === route).length >= mostOfRoute) continue
    seen.add(path)
    const answer = await page.goto(`${origin}${path}`)
    if (answer === null) throw new Error(`no answer to ${path}`)
    pages.push({ route, path })
    await look?.({ route, path, answer })
    const found = await page.evaluate<{ links: string[]; posts: string[] }>(`(() => {
      const posts = [...document.querySelectorAll('form')].filter((form) => form.method === 'post').flatMap((form) => {
        const buttons = [...form.elements].filter((one) => one.type === 'submit')
        return buttons.map((button) => button.hasAttribute('formaction') ? button.formAction : form.action)
      })
      const gets = [...document.querySelectorAll('form')].filter((form) => form.method === 'get').map((form) => form.action)
      return { posts, links: [...[...document.querySelectorAll('main a[href], nav a[href]')].map((link) => link.href), ...gets] }
    })()`)
    for (const path of found.posts.flatMap((url) => pathBelow(url, origin))) {
      const sent = findRoute(routes, 'POST', path)
      if (sent === undefined) astray.add(`POST ${path}`)
      else forms.add(sent)
    }
    // Anchors of the page itself, and what leads to apps, are not the console.
    for (const path of found.links.flatMap((url) => pathBelow(url, origin))) if (!seen.has(path)) waiting.push(path)
  }
  return { pages, forms, links, astray: [...astray] }
}

/** The route that answers; written-out paths stand before those with a parameter in their place, as they are mounted. */
export function findRoute(routes: readonly ConsoleRoute[], method: ConsoleRoute['method'], path: string): ConsoleRoute | undefined {
  const parts = path.split('?')[0]?.split('/') ?? []
  const fits = routes.filter((route) => {
    const pattern = route.pattern.split('/')
    return (
      route.method === method && pattern.length === parts.length && pattern.every((part, at) => part.startsWith(':') || part === parts[at])
    )
  })
  return fits.sort((a, b) => a.pattern.split(':').length - b.pattern.split(':').length)[0]
}

function pathBelow(url: string, origin: string): readonly string[] {
  const { origin: from, pathname, search } = new URL(url)
  // The search of the frame only leads on to a list.
  return from === origin && /^\/console(?!\/search$)(?:\/|$)/.test(pathname) ? [`${pathname}${search}`] : []
}

/** These hand out files, or stream: there is no page to look at. */
function isDownload(path: string): boolean {
  return /\/(?:follow|live)(?:\?|$)|^\/console\/review\/export|\/files\?|[?&]download=1/.test(path)
}
