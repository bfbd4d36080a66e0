/**
 * The frame around every page of the demo's apps: app name, navigation, and who is signed in.
 */

import { html, type Markup } from '../markup.ts'
import { displayName, type Identity } from './identity.ts'

export interface PageFrame {
  readonly app: { readonly id: 'wiki' | 'board' | 'payroll'; readonly name: string; readonly mark: string }
  readonly title: string
  readonly identity: Identity | undefined
  readonly navigation: readonly { readonly href: string; readonly label: string }[]
  /** Paths of this app's scripts. */
  readonly scripts?: readonly string[]
}

/** A complete page. The link to sign out leads to Postern, which answers below `/.postern/` on every host. */
export function renderPage(frame: PageFrame, content: Markup): Markup {
  const { identity } = frame
  return html`<!doctype html>
<html lang="en" data-app="${frame.app.id}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${frame.title} · ${frame.app.name}</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/assets/apps.css">
  ${(frame.scripts ?? []).map((path) => html`<script src="${path}" defer></script>`)}
</head>
<body>
  <a class="skip" href="#content">Skip to content</a>
  <header class="top">
    <a class="app" href="/"><span class="mark" aria-hidden="true">${frame.app.mark}</span> ${frame.app.name}</a>
    <nav aria-label="Main">${frame.navigation.map(({ href, label }) => html`<a href="${href}">${label}</a>`)}</nav>
    <div class="person">${
      identity === undefined
        ? html`<span>Nobody is signed in</span>`
        : html`<span class="avatar" aria-hidden="true">${displayName(identity).slice(0, 1).toUpperCase()}</span>
      <span class="who"><strong id="signed-in-as">${identity.email ?? displayName(identity)}</strong><span>${identity.groups.join(', ')}</span></span>
      <a class="button quiet" href="/.postern/sign-out">Sign out</a>`
    }</div>
  </header>
  <main id="content">
    ${content}
  </main>
  <footer><p>${frame.app.name} has no sign-in of its own. Postern decided on this request and told it who you are.</p></footer>
</body>
</html>
`
}

/** An instant as people write it, in UTC: `22 Nov 2026, 14:05`. */
export function renderTime(at: number): Markup {
  const iso = new Date(at).toISOString()
  const text = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' }).format(at)
  return html`<time datetime="${iso}">${text}</time>`
}
