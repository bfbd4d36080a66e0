/**
 * The security headers of our own pages, stated once for both planes.
 *
 * The data plane, where `helmet` is not used, sends `pageHeaders`; the control plane hands `contentSecurityPolicy` to
 * `helmet`. Nothing inline, nothing from elsewhere. Two pages differ: a sign-out form leads on to the access host and the
 * provider, so it names those origins (a browser checks `form-action` on redirects too); the page for a frame must be
 * readable inside a frame of its own origin, and holds nothing but a link that leaves the frame.
 */

/** What a page may need beyond the strict default. */
export interface PageHeaderWish {
  /** Origins besides our own that a form's answer may lead to. Anything that is not an http(s) origin is left out. */
  readonly formActionOrigins?: readonly string[]
  /** Tells where a form or a link of the page comes from, as its origin and no more; else not even that. */
  readonly sendsOrigin?: boolean
  /** Lets pages of the same origin frame this one. Clicking through it can only reach a sign-in, which any link can. */
  readonly allowOwnFrames?: boolean
}

/** Directives in the form that `helmet` takes (with `useDefaults: false`). */
export function contentSecurityPolicy(wish: PageHeaderWish = {}): Record<string, string[]> {
  return {
    'default-src': ["'none'"],
    'script-src': ["'self'"],
    'style-src': ["'self'"],
    'img-src': ["'self'", 'data:'],
    'connect-src': ["'self'"],
    'font-src': ["'self'"],
    'base-uri': ["'none'"],
    'form-action': ["'self'", ...originsOf(wish.formActionOrigins ?? [])],
    'frame-ancestors': [wish.allowOwnFrames === true ? "'self'" : "'none'"],
  }
}

/** Complete headers of a page, names in lower case. */
export function pageHeaders(wish: PageHeaderWish = {}): Record<string, string> {
  return {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'content-security-policy': Object.entries(contentSecurityPolicy(wish))
      .map(([name, sources]) => `${name} ${sources.join(' ')}`)
      .join('; '),
    'x-content-type-options': 'nosniff',
    'x-frame-options': wish.allowOwnFrames === true ? 'SAMEORIGIN' : 'DENY',
    'referrer-policy': wish.sendsOrigin === true ? 'strict-origin' : 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': 'accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()',
    'x-robots-tag': 'noindex',
  }
}

/**
 * Headers for `/.postern/assets/<hash>.<ext>`. The name follows the content, so a copy is good for ever. The policy keeps a
 * picture that someone opens by its address from running script on our origin: an SVG may carry some.
 */
export const assetHeaders: Readonly<Record<string, string>> = {
  'cache-control': 'public, max-age=31536000, immutable',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
}

/** Re-serialised, so that nothing but an origin can enter the header. */
function originsOf(values: readonly string[]): string[] {
  const origins = values.flatMap((value) => {
    const url = URL.parse(value)
    return url !== null && (url.protocol === 'https:' || url.protocol === 'http:') ? [url.origin] : []
  })
  return [...new Set(origins)]
}
