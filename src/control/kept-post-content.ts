/**
 * What the two pages about kept forms say: the one that asks whether to send it on, and the one that says that it was not kept.
 *
 * Pure. Sizes and spans are words here, so that the templates only place them. Addresses are checked; one that is not safe to click, or
 * to send a form to, is left out, never repaired.
 */

import type { NotKept } from '../session/kept-posts.ts'
import { parseOwnPath, parseWebAddress } from './contact.ts'
import type { KeptPostView, NotKeptView } from './pages.ts'
import { printSize, printSpan } from './words.ts'

/** What the template is given to ask with. */
export interface KeptPostContent {
  readonly appName: string
  readonly address: string
  readonly person: string
  readonly what: string
  readonly age: string
  readonly left: string
  readonly action: string
  readonly resume: string
  readonly discardAction: string
}

/** What the template is given to say that nothing was sent. */
export interface NotKeptContent {
  readonly happened: string
  readonly because: string
  /** Whether reloading sends it again with our cookie: browsers send none with what another site began. */
  readonly isReloadable: boolean
  readonly signInUrl: string | undefined
  readonly details: readonly { readonly label: string; readonly value: string }[]
}

/** The page that asks. A form that cannot be sent on safely would be a mistake of ours: there is no page without it. */
export function describeKeptPost(view: KeptPostView): KeptPostContent {
  const [action, discardAction] = [parseWebAddress(view.action), parseOwnPath(view.discardAction)]
  if (action === undefined || discardAction === undefined) throw new TypeError('a kept form goes on to an address of its own host')
  const { address, appName, person, resume } = view
  const what = `A form${view.hasFiles ? ', maybe with files' : ''}, ${printSize(view.bytes)}`
  return { appName, address, person, what, age: printSpan(view.ageMs), left: printSpan(view.leftMs), action, resume, discardAction }
}

/** The page that says that a form was not kept, why, and how it is not lost. */
export function describeNotKept(view: NotKeptView): NotKeptContent {
  const { appName, isStepUp, person, requestId } = view
  const rows: [string, string | undefined][] = [
    ['App', appName],
    ['Signed in as', person],
    ['Request', requestId],
  ]
  return {
    happened: isStepUp
      ? `${appName} wants a stronger or more recent sign-in before it takes this.`
      : `You have to sign in before ${appName} takes this.`,
    because: notKeptWords(view.because, view.maxBytes),
    isReloadable: view.because !== 'other_site',
    signInUrl: parseWebAddress(view.signInUrl),
    details: rows.flatMap(([label, value]) => (value === undefined ? [] : [{ label, value }])),
  }
}

function notKeptWords(because: NotKept, maxBytes: number): string {
  switch (because) {
    case 'switched_off':
    case 'other_type':
      return 'A form like this is not kept meanwhile.'
    case 'too_large':
      return `It is longer than the ${printSize(maxBytes)} that can be kept meanwhile.`
    case 'other_site':
      return 'It came from another site, so it is not kept meanwhile.'
    case 'unknown_session':
      return 'You were not signed in here, or too long ago, so it is not kept meanwhile.'
    case 'too_many':
      return 'Five forms of yours are kept already.'
    case 'no_room':
      return 'So many forms are kept for others at this moment that there is no room for it.'
    case 'another_person':
      return 'It was kept before for another account, and is not kept again for this one.'
  }
}
