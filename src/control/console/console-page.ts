/**
 * The contract between a page of the console and what stands around it.
 *
 * A page module states its routes through `ConsoleRoutes` and never touches Express: each handler is told who asks and what was asked, and
 * returns an answer. Everything that must hold for all of them stands in one place (`console-routes.ts`): the role, the same-origin rule, the form
 * token, the age of the sign-in for changes, headers, frame, escaping, and what becomes of a thrown error. A page is allowed by its
 * `permission` alone; there is no way to add one without.
 */

import type { Asker, Permission } from '../../administration/asker.ts'
import type { Refused } from '../operations/operation.ts'

/** The entries of the navigation; each page belongs to one. */
export type ConsoleSection =
  | 'overview'
  | 'apps'
  | 'policy'
  | 'people'
  | 'devices'
  | 'connections'
  | 'locks'
  | 'trail'
  | 'review'
  | 'requests'
  | 'tokens'

/** What a handler is told. */
export interface ConsoleRequest {
  readonly asker: Asker
  /** Path parameters, decoded. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** Epoch milliseconds. */
  readonly now: number
  readonly requestId: string
  /** For forms on this page: goes into `<input type="hidden" name="form_token">`. The frame hands it to every template as `it.frame.formToken`. */
  readonly formToken: string
  /** Whether this asker holds the permission: a button that would be refused is not shown. */
  may(permission: Permission): boolean
}

/** What was done, or not, said at the top of the next page. Plain text. */
export interface Notice {
  readonly tone: 'good' | 'bad' | 'info'
  readonly text: string
}

export type ConsoleAnswer =
  | {
      readonly kind: 'page'
      /** Name of the template below `views/console`, such as `people`. */
      readonly template: string
      /** Of the document, and of nothing else. */
      readonly title: string
      readonly section: ConsoleSection
      /** What the template is told as `it.content`: plain data; text is escaped there, addresses were made here from checked parts. */
      readonly content: object
      readonly status?: 200 | 400 | 404 | 409 | 422 | 503 | undefined
      /** Further scripts of the page, by file name below `views/assets/console`, such as `policy-editor.js`. */
      readonly scripts?: readonly string[] | undefined
    }
  /** 303 to a path of the access host, with what is to be said there. */
  | { readonly kind: 'redirect'; readonly to: string; readonly notice?: Notice | undefined }
  | { readonly kind: 'not_found' }
  /** A refusal of an operation, as a page; on a form's handler mostly better shown at the field. */
  | { readonly kind: 'refused'; readonly refusal: Refused }
  | {
      readonly kind: 'download'
      readonly type: string
      readonly filename: string
      readonly body: string | Buffer | AsyncIterable<string | Buffer>
    }
  /** For the page's own script. */
  | { readonly kind: 'json'; readonly body: object; readonly status?: number | undefined }
  /** Server-sent events (`text/event-stream`) until the iterable ends or the browser leaves; each is one `data:` of JSON. Decided again every 30 s. */
  | { readonly kind: 'events'; readonly events: (signal: AbortSignal) => AsyncIterable<object> }

export type ConsoleHandler = (request: ConsoleRequest) => Promise<ConsoleAnswer>
export type ConsoleFormHandler = (request: ConsoleRequest, form: URLSearchParams) => Promise<ConsoleAnswer>

/** How pages are added. Paths begin with `/console`; `:name` is a parameter. */
export interface ConsoleRoutes {
  get(path: string, permission: Permission, handler: ConsoleHandler): void
  /** A POST of our own page, with its token; at most `limitBytes` (16 KiB). Of a permission that is no `:read` it needs a sign-in of late. */
  post(path: string, permission: Permission, handler: ConsoleFormHandler, options?: { readonly limitBytes?: number }): void
}

/** Adds one theme's pages. */
export type MountConsolePages<Ports> = (routes: ConsoleRoutes, ports: Ports) => void
