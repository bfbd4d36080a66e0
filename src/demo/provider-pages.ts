/**
 * The pages of the demo's provider: choose who you are, sign out, and plain notices.
 *
 * They work without script and under a policy that allows no inline code. The one script, on the sign-out page, presses the
 * button that is there anyway.
 */

import { loadDemoAsset } from './assets.ts'
import { dangerouslyTrustedMarkup, html, type Markup } from './markup.ts'
import type { Person } from './people.ts'

/** Path to content of what the pages load. */
export const providerAssets: ReadonlyMap<string, { readonly type: string; readonly body: Buffer }> = new Map([
  ['/assets/provider.css', loadDemoAsset('provider.css')],
  ['/assets/sign-out.js', loadDemoAsset('sign-out.js')],
])

export interface SignInView {
  readonly action: string
  readonly people: readonly Person[]
  /** Name of who is signed in already, when the sign-in has to be repeated. */
  readonly again: string | undefined
  /** `login_hint`: an id or e-mail address to offer first. */
  readonly hint: string | undefined
}

/** The sign-in page: one card a person, each a submit button. */
export function renderSignIn(view: SignInView): Markup {
  const people = [...view.people].sort((a, b) => Number(isHinted(b, view.hint)) - Number(isHinted(a, view.hint)))
  return layout(
    'Sign in · Corp (demo)',
    html`<h1>Who are you today?</h1>
      <p class="lead">${
        view.again === undefined
          ? 'This is a demo: choose a person and you are signed in. There are no passwords.'
          : `The app asks for a fresh sign-in. You were ${view.again}; choose a person to go on.`
      }</p>
      <form method="post" action="${view.action}">
        <ul class="people">${people.map(
          (person) => html`<li><button name="person" value="${person.id}" class="person person-${person.id}">
            <span class="avatar" aria-hidden="true">${person.name.slice(0, 1)}</span>
            <span class="who"><strong>${person.name}</strong><span>${person.role}</span></span>
            <span class="groups">${person.groups.map((group) => html`<span class="group">${group}</span>`)}</span>
          </button></li>`,
        )}</ul>
        <p class="aside"><button class="quiet" name="person" value="">Cancel and go back</button></p>
      </form>`,
  )
}

export interface CodeView {
  readonly action: string
  readonly person: Person
  readonly code: string
  /** Another code was typed. */
  readonly isWrong: boolean
}

/** The second factor: the code that the person's phone would show, and a field for it. */
export function renderCode(view: CodeView): Markup {
  return layout(
    'One more step · Corp (demo)',
    html`<h1>One more step</h1>
      <p class="lead">The app asks for a second factor. ${view.person.name}’s phone would now show this code:</p>
      <p class="code">${view.code}</p>
      <form method="post" action="${view.action}">
        <input type="hidden" name="person" value="${view.person.id}">
        <p class="field"><label for="code">${view.isWrong ? 'That was another code. Type the one above' : 'Type it here'}</label>
        <input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" maxlength="6" required autofocus></p>
        <p><button class="primary">Continue</button></p>
      </form>
      <form method="post" action="${view.action}"><p class="aside"><button class="quiet" name="person" value="">Cancel and go back</button></p></form>`,
  )
}

/** The provider's half of signing out. `form` is the library's own, with its XSRF token. */
export function renderSignOut(view: { readonly form: string; readonly isAskedByRelyingParty: boolean }): Markup {
  return layout(
    'Sign out · Corp (demo)',
    html`<h1>Sign out</h1>
      <p class="lead">This ends your sign-in for every app of the demo.</p>
      ${dangerouslyTrustedMarkup(view.form)}
      <p><button id="sign-out" class="primary" form="op.logoutForm" name="logout" value="yes"${view.isAskedByRelyingParty ? html` data-press` : undefined}>Sign out everywhere</button></p>
      ${view.isAskedByRelyingParty ? html`<script src="/assets/sign-out.js"></script>` : undefined}`,
  )
}

/** A page that only says something. */
export function renderNotice(title: string, text: string): Markup {
  return layout(`${title} · Corp (demo)`, html`<h1>${title}</h1><p class="lead">${text}</p>`)
}

function layout(title: string, content: Markup): Markup {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${title}</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/assets/provider.css">
</head>
<body>
  <main>
    <p class="brand"><span class="mark" aria-hidden="true">C</span> Corp <span class="tag">demo sign-in</span></p>
    ${content}
  </main>
  <footer><p>A stand-in for your company’s OpenID Provider. It knows three people and forgets everything when it stops.</p></footer>
</body>
</html>
`
}

function isHinted(person: Person, hint: string | undefined): boolean {
  return hint !== undefined && (person.id === hint || person.email === hint)
}
