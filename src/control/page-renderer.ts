/**
 * Renders our own pages: view models in, complete HTML out. The only door to the template engine.
 *
 * Templates are compiled once at start and find each other by name, so that no request ever touches the file system or
 * chooses a template. Everything printed is escaped; a raw print is used for nothing but a template's own parts (a test
 * reads the views for that). Nothing inline: style, script and pictures are assets under names that follow their content.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Eta } from 'eta/core'
import { PosternError } from '../errors.ts'
import { createAssets, textTypes } from './assets.ts'
import { parseContact, parseOwnPath, parseWebAddress } from './contact.ts'
import { describeKeptPost, describeNotKept } from './kept-post-content.ts'
import { describeMySessions } from './my-sessions-content.ts'
import { type PageHeaderWish, pageHeaders } from './page-headers.ts'
import type { OwnPage, PageRenderer, RenewalView, SignOutView } from './pages.ts'
import { describePortal } from './portal-content.ts'
import { describeRefusal, type RefusalFacts } from './refusal-content.ts'

/** What the pages look like and where their files are. */
export interface PageRendererSettings {
  /** Folder of the templates; its `assets` folder holds stylesheet, script and mark. */
  readonly viewsFolder: string
  readonly brand: {
    readonly name: string
    readonly logoFile: string | undefined
    /** An e-mail address, a URL, or words. */
    readonly support: string | undefined
  }
  /** Puts a banner on every page. */
  readonly isDemo: boolean
}

/** What the layout is told about one page. */
interface Frame {
  readonly title: string
  readonly home: string | undefined
  readonly person: string | undefined
  readonly signOutUrl: string | undefined
}

/** Reads templates and assets. Throws `configuration_invalid` for a logo that cannot be used, and for a broken template whatever is wrong with it. */
export function createPageRenderer(settings: PageRendererSettings): PageRenderer {
  const { brand, viewsFolder } = settings
  const assets = createAssets()
  const eta = compileViews(viewsFolder)
  const inFolder = (file: string): string => join(viewsFolder, 'assets', file)
  const mark = assets.addFiles([inFolder('mark.svg')], 'svg')
  const site = {
    name: brand.name,
    mark,
    logo: brand.logoFile === undefined ? undefined : readLogo(brand.logoFile),
    stylesheet: assets.addFiles(stylesheetParts.map(inFolder), 'css'),
    script: assets.addFiles([inFolder('postern.js')], 'js'),
    support: parseContact(brand.support, { subject: brand.name, lines: [] }),
    isDemo: settings.isDemo,
  }

  const consoleFolder = join(viewsFolder, 'assets', 'console')
  // What every page of the console has comes first, so that the parts of its themes may overrule it.
  const rankOf = (file: string) => (file === 'console.css' ? 0 : file.startsWith('console-') ? 1 : 2)
  const consoleFiles = readdirSync(consoleFolder).sort((a, b) => rankOf(a) - rankOf(b) || (a < b ? -1 : 1))
  const consoleSite = {
    ...site,
    stylesheet: assets.addFiles(
      [inFolder('base.css'), ...consoleFiles.filter((file) => file.endsWith('.css')).map((file) => join(consoleFolder, file))],
      'css',
    ),
    script: assets.addFiles([join(consoleFolder, 'console.js')], 'js'),
  }
  const consoleScripts = new Map(
    consoleFiles.filter((file) => file.endsWith('.js')).map((file) => [file, assets.addFiles([join(consoleFolder, file)], 'js')]),
  )

  function findScript(file: string): string {
    const address = consoleScripts.get(file)
    if (address === undefined) throw new TypeError(`there is no script ${file} of the console`)
    return address
  }

  function readLogo(file: string): string {
    const url = assets.addPicture(file)
    if (url === undefined) {
      throw new PosternError(
        'configuration_invalid',
        `brand.logo_file: ${file} is not a readable PNG, JPEG, WebP or SVG of at most 512 KiB`,
      )
    }
    return url
  }

  function render(template: string, frame: Frame, content: object): string {
    return eta.render(`@${template}`, { site, frame, content })
  }

  function renderRefusal(facts: RefusalFacts, template: 'refusal' | 'frame' = 'refusal'): string {
    const content = describeRefusal(facts, brand)
    const home = linkOf(facts.portalUrl)
    return render(template, { title: content.title, home, person: facts.person, signOutUrl: undefined }, content)
  }

  function renderSignOut(view: SignOutView): string {
    const home = linkOf(view.portalUrl)
    return render('sign-out', { title: 'Sign out', home, person: view.person, signOutUrl: undefined }, view)
  }

  function renderRenewal(view: RenewalView): string {
    const isRenewed = view.outcome === 'renewed'
    const title = isRenewed ? 'You are signed in' : 'You are not signed in yet'
    return eta.render('@renewal', { site, content: { ...view, title, isRenewed } })
  }

  return {
    renderPortal(view) {
      const frame = { title: 'Your apps', home: '/', person: view.person.name, signOutUrl: linkOf(view.signOutUrl) }
      return render('portal', frame, describePortal(view, brand))
    },
    renderPersonal: ({ content, person, template, title }) =>
      render(template, { title, home: '/', person: person.name, signOutUrl: '/.postern/sign-out' }, { ...content, person }),
    renderMySessions(view) {
      const [home, signOutUrl] = [linkOf(view.portalUrl), linkOf(view.signOutUrl)]
      return render(
        'my-sessions',
        { title: 'Where you are signed in', home, person: view.person.name, signOutUrl },
        describeMySessions(view),
      )
    },
    renderBreakGlass: (view) =>
      render('break-glass', { title: 'Emergency sign-in', home: undefined, person: undefined, signOutUrl: undefined }, view),
    renderSignOut,
    renderSignedOut(view) {
      const content = { signInUrl: linkOf(view.signInUrl), providerTold: view.providerTold }
      return render('signed-out', { title: 'You are signed out', home: undefined, person: undefined, signOutUrl: undefined }, content)
    },
    renderNotFound: (view) => renderRefusal({ ...noFacts, ...view, reason: 'path_not_found' }),
    renderUnavailable: (view) => renderRefusal({ ...noFacts, ...view }),
    renderSignInError: (view) => renderRefusal({ ...noFacts, ...view }),
    renderError: (view) => renderRefusal({ ...noFacts, ...view }),
    renderConsole({ content, frame, scripts, template }) {
      const name = `@console/${template}`
      if (eta.templatesSync.get(name) === undefined) throw new TypeError(`there is no page ${template} of the console`)
      return eta.render(name, { site: consoleSite, frame, content, scripts: scripts.map(findScript) })
    },
    refusalPage(view) {
      // A navigation that must sign in is redirected; only a frame is answered with a 401 page.
      return view.status === 401
        ? ownPage(401, renderRefusal(view, 'frame'), { allowOwnFrames: true })
        : ownPage(view.status, renderRefusal(view), {})
    },
    signOutPage: (view) => ownPage(200, renderSignOut(view), { formActionOrigins: view.formActionOrigins }),
    renewal: {
      script: { type: textTypes.js, body: readFileSync(inFolder('renew.js')) },
      stylesheet: { type: textTypes.css, body: readFileSync(inFolder('renew.css')) },
      renderPage: (view) => ownPage(200, renderRenewal(view), { allowOwnFrames: view.mode === 'frame' }),
    },
    keptPostPage(view) {
      const frame = { title: 'Send your form?', home: linkOf(view.portalUrl), person: view.person, signOutUrl: undefined }
      const body = render('kept-post', frame, describeKeptPost(view))
      // An app that checks where its forms come from must see its own origin and not `null`.
      return ownPage(200, body, { sendsOrigin: true })
    },
    notKeptPage(view) {
      const frame = { title: 'Your form has not been sent', home: undefined, person: view.person, signOutUrl: undefined }
      return ownPage(view.status, render('post-not-kept', frame, describeNotKept(view)), { sendsOrigin: true })
    },
    findAsset: (name) => assets.find(name),
    logoUrl: (file) => assets.addPicture(file),
  }
}

/** Joined into the one stylesheet, in the order in which they may overrule each other. */
const stylesheetParts = ['base.css', 'notice.css', 'portal.css', 'sessions.css', 'my.css', 'kept-post.css', 'circumstances.css']

/** What a page of the access host knows nothing about. */
const noFacts = { app: undefined, person: undefined, unmet: [], retryPath: undefined, signInUrl: undefined, signOutUrl: undefined } as const

function ownPage(status: number, body: string, wish: PageHeaderWish): OwnPage {
  return { status, headers: pageHeaders(wish), body }
}

function linkOf(address: string): string | undefined {
  return parseWebAddress(address) ?? parseOwnPath(address)
}

/** Loads every `.eta` file of the folder as `@name`. Eta's core has no file access, so a template cannot reach beyond these. */
function compileViews(folder: string): Eta {
  const eta = new Eta({ autoEscape: true, cache: true, escapeFunction: escapeText })
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.eta'))
  for (const file of files) {
    const name = file.slice(0, -'.eta'.length).replaceAll('\\', '/')
    eta.loadTemplate(`@${name}`, readFileSync(join(folder, file), 'utf8'))
  }
  return eta
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;', '`': '&#96;' }

/**
 * Text for any place in a template, an attribute in quotes included. Nothing prints as nothing; control characters, which
 * HTML forbids and some terminals obey when a page is copied, print as U+FFFD; so do lone surrogates.
 */
function escapeText(value: unknown): string {
  if (value === undefined || value === null) return ''
  return (
    String(value)
      .toWellFormed()
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g, '\ufffd')
      .replace(/[&<>"'`]/g, (character) => entities[character] ?? '')
  )
}
