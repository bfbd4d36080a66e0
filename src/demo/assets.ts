/**
 * The demo's stylesheets and scripts, read from `views/demo` once at start.
 *
 * The names are a closed list: nothing a client sends becomes a file name.
 */

import { readFileSync } from 'node:fs'

export type DemoAssetName = 'apps.css' | 'provider.css' | 'sign-out.js' | 'board.js' | 'payroll.js'

/** Content and type of one of the demo's own files. Throws if the installation lacks it. */
export function loadDemoAsset(name: DemoAssetName): { readonly type: string; readonly body: Buffer } {
  const type = name.endsWith('.css') ? 'text/css; charset=utf-8' : 'text/javascript; charset=utf-8'
  return { type, body: readFileSync(new URL(`../../views/demo/${name}`, import.meta.url)) }
}
