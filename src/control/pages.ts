/**
 * The typed view models: everything that a page of ours is told, one type a page.
 *
 * A view never receives a session, a configuration or an error; what is not written here cannot reach a browser. All text
 * is untrusted (names come from the policy, from tokens, from the person) and is escaped by the renderer; every address
 * that becomes a link is checked there to be `http:`, `https:` or a path of the same host.
 */

import type { Reason, Unmet } from '../policy/decision.ts'
import type { NotKept } from '../session/kept-posts.ts'
import type { ConsoleFrame } from './console/console-frame.ts'
import type { PortalListing } from './portal-listing.ts'

/** The person who is signed in, as they would recognise themselves. */
export interface PersonView {
  readonly name: string
  /** Shown under the name where the two differ. */
  readonly email: string | undefined
}

/** One app on the portal. */
export interface AppCardView {
  readonly id: string
  readonly name: string
  readonly description: string | undefined
  /** Where the card leads. */
  readonly url: string
  /** An address of ours (`/.postern/assets/…`, from `PageRenderer.logoUrl`) or a `data:image/…`; anything else becomes a monogram. */
  readonly logo: string | undefined
  /** Said aloud only for `confidential` and `restricted`. */
  readonly sensitivity: 'open' | 'internal' | 'confidential' | 'restricted' | undefined
  /** `step_up`: a visit leads to a better sign-in first. `ask`: listed although this person may not open it now, and why. */
  readonly access: 'open' | 'step_up' | 'ask'
  /** Of `step_up`: whether the sign-in is too weak, or only too long ago. */
  readonly wanted?: 'stronger' | 'fresher' | undefined
  /** Of `ask`: what the app's own refusal would say. */
  readonly refusal?: {
    readonly reason: Reason
    readonly unmet: readonly Unmet[]
    readonly requestId: string
    /** Who asks, for the letter to whoever looks after the app. */
    readonly person: string
    readonly owner: string | undefined
    readonly help: string | undefined
  }
  /** The person may ask for access, or did at this instant. */
  readonly request?: { readonly askedAt: number | undefined } | undefined
}

/** `/` on the access host. */
export interface PortalView {
  readonly person: PersonView
  readonly apps: readonly AppCardView[]
  /** What was searched for without script (`?q=`); cards that do not match are hidden, not left out. Of a page (`listing`), all match. */
  readonly query: string | undefined
  /** `apps` are a page of more. */
  readonly listing?: PortalListing | undefined
  /** The `GET` page with the button. */
  readonly signOutUrl: string
  /** What the instants of refusals are compared with. */
  readonly at?: number
  /** A lock shuts everything, whatever the app. */
  readonly locked?: 'person' | 'device' | undefined
  /** The pages about oneself that there are. */
  readonly pages?: readonly string[]
  /** For the forms that ask for access. */
  readonly formToken?: string
  readonly requestId?: string
}

/** A page about oneself. Its content is plain data, made by a pure function of its own and escaped like everything. */
export interface PersonalView {
  /** Name below `views`. */
  readonly template: 'my-devices' | 'my-data' | 'my-requests'
  readonly title: string
  readonly person: PersonView
  readonly content: object
}

/** One session of the person who looks. */
export interface MySessionView {
  /** Sent back by the form that ends it. */
  readonly reference: string
  /** As rules name them (`chrome`, `macos`); `undefined` where the browser did not say. */
  readonly browser: string | undefined
  readonly system: string | undefined
  /** The name of the device whose certificate it is bound to. */
  readonly device: string | undefined
  readonly address: string
  /** ISO 3166-1 alpha-2; `undefined` where it is not known. */
  readonly country: string | undefined
  readonly startedAt: number
  readonly lastUsedAt: number
  readonly isCurrent: boolean
}

/** `/sessions` on the access host. */
export interface MySessionsView {
  readonly person: PersonView
  /** The clock that the sessions' instants are of. */
  readonly at: number
  readonly sessions: readonly MySessionView[]
  /** What was just ended. */
  readonly ended: 'one' | 'others' | undefined
  readonly formToken: string
  /** The `GET` page with the button. */
  readonly signOutUrl: string
  readonly portalUrl: string
}

/** `GET /sign-in?break_glass=…` on the access host. */
export interface BreakGlassView {
  readonly person: string
  readonly email: string
  readonly minutes: number
  /** Sent back by the form, which spends it. */
  readonly code: string
}

/** `GET /.postern/sign-out`, on an app host (`appName`) and on the access host (none). */
export interface SignOutView {
  readonly person: string | undefined
  readonly appName: string | undefined
  readonly portalUrl: string
  /** Sent back by the form as `form_token`; only on the access host. */
  readonly formToken?: string | undefined
  /** Origins that the form's answer may lead to, besides our own: `form-action` names exactly these. */
  readonly formActionOrigins: readonly string[]
}

/** `/.postern/kept-post` on an app host: whether a form that was kept during a sign-in is to be sent on. As the enforcement point has it. */
export interface KeptPostView {
  readonly person: string
  readonly appName: string
  readonly address: string
  readonly action: string
  readonly resume: string
  readonly discardAction: string
  readonly hasFiles: boolean
  readonly bytes: number
  readonly ageMs: number
  readonly leftMs: number
  readonly portalUrl: string
}

/** In place of a redirect to the sign-in, for a form that cannot be kept. As the enforcement point has it. */
export interface NotKeptView {
  readonly status: number
  readonly because: NotKept
  readonly isStepUp: boolean
  readonly person: string | undefined
  readonly appName: string
  readonly signInUrl: string
  readonly maxBytes: number
  readonly requestId: string
  readonly portalUrl: string
}

/** `/signed-out` on the access host. */
export interface SignedOutView {
  readonly signInUrl: string
  /** Whether the provider's own session ended too; `unknown` where it never came back to say so. */
  readonly providerTold: 'yes' | 'no' | 'unknown'
}

/** The app that a refusal is about, if the person may know of it. */
export interface RefusedAppView {
  readonly name: string
  readonly url: string
  readonly owner: string | undefined
  readonly help: string | undefined
}

/**
 * Any answer that is not what was asked for. Equal in structure to the enforcement point's `RefusalView`, which this
 * folder may not import; a test holds the two together.
 */
export interface RefusalView {
  readonly status: number
  readonly reason: Reason
  readonly requestId: string
  readonly app: RefusedAppView | undefined
  readonly person: string | undefined
  readonly unmet: readonly Unmet[]
  /** When it was decided: what instants in `unmet` are compared with. */
  readonly at: number
  /** Path on this host for "try again". */
  readonly retryPath: string | undefined
  readonly signInUrl: string | undefined
  readonly signOutUrl: string | undefined
  readonly portalUrl: string
}

/** An address on the access host where nothing is. */
export interface NotFoundView {
  readonly requestId: string
  readonly portalUrl: string
  readonly person: string | undefined
}

/** The provider, the session store or the audit trail is needed and away. */
export interface UnavailableView {
  readonly reason: 'provider_unavailable' | 'session_store_unavailable' | 'audit_unavailable' | 'shutting_down'
  readonly requestId: string
  readonly portalUrl: string
  /** Path on this host for "try again". */
  readonly retryPath: string | undefined
}

/** A sign-in that came back without success. */
export interface SignInErrorView {
  readonly reason: 'provider_refused' | 'sign_in_invalid' | 'bad_hand_off' | 'sign_in_too_old' | 'step_up_failed'
  /** The provider's OAuth error code, sanitised, or our word for what its answer lacked; `undefined` where there was none. */
  readonly providerError: string | undefined
  readonly requestId: string
  /** Where a new attempt begins. */
  readonly startAgainUrl: string
  /** Where signing out begins, if that is what helps. */
  readonly signOutUrl?: string | undefined
  readonly portalUrl: string
  /** Who is signed in, where somebody is. */
  readonly person?: string | undefined
}

/** Anything else that went wrong on the access host. */
export interface ErrorView {
  readonly reason: Reason
  readonly requestId: string
  readonly portalUrl: string
  readonly person: string | undefined
  /** Where a sign-in begins, if that is what helps. */
  readonly signInUrl?: string | undefined
}

/** A complete answer, for the data plane, which writes it as it is. Header names are lower-case. */
export interface OwnPage {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** A file of our own pages. */
export interface Asset {
  readonly type: string
  readonly body: Buffer
}

/** The page that a renewal from within a page ends on. */
export interface RenewalView {
  /** `renewed`, or a word for why it was not. */
  readonly outcome: string
  readonly mode: 'frame' | 'popup'
}

/** A page of the console. Its content is the theme's own: plain data, made by a pure function of its own and escaped like everything. */
export interface ConsoleView {
  /** Name below `views/console`. */
  readonly template: string
  readonly frame: ConsoleFrame
  readonly content: object
  /** File names below `views/assets/console`. */
  readonly scripts: readonly string[]
}

/** Renders the pages. A `render…` gives HTML for Express, whose security headers `helmet` sets from `page-headers.ts`. */
export interface PageRenderer {
  renderPortal(view: PortalView): string
  renderMySessions(view: MySessionsView): string
  renderPersonal(view: PersonalView): string
  renderBreakGlass(view: BreakGlassView): string
  renderSignOut(view: SignOutView): string
  renderSignedOut(view: SignedOutView): string
  renderNotFound(view: NotFoundView): string
  renderUnavailable(view: UnavailableView): string
  renderSignInError(view: SignInErrorView): string
  renderError(view: ErrorView): string
  /** Throws `TypeError` for a template or a script that there is not. */
  renderConsole(view: ConsoleView): string
  /** For the data plane: every refusal on an app host. A 401 is the page for a frame. */
  refusalPage(view: RefusalView): OwnPage
  /** For the data plane: the sign-out page of an app host. */
  signOutPage(view: SignOutView): OwnPage
  /** For the data plane: what single-page apps include, and the page behind it. */
  readonly renewal: {
    readonly script: Asset
    readonly stylesheet: Asset
    renderPage(view: RenewalView): OwnPage
  }
  /** For the data plane: the pages about forms that meet a sign-in. */
  keptPostPage(view: KeptPostView): OwnPage
  notKeptPage(view: NotKeptView): OwnPage
  /** `<hash>.<ext>` to content, for `/.postern/assets/`. */
  findAsset(name: string): Asset | undefined
  /** Takes a picture file in and returns its address for `AppCardView.logo`; `undefined` if it cannot be used. Not for the request path. */
  logoUrl(file: string): string | undefined
}
