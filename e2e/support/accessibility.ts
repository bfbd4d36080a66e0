/**
 * What axe, by all its rules, finds wrong with a page as it stands in a browser now.
 *
 * axe runs within the page and not, as it does otherwise, in parts that a blank page puts together: with that page, and axe in it a
 * second time, a look takes twice to three times as long. What is lost is a look into frames; a page that has one is refused here.
 */

import { AxeBuilder } from '@axe-core/playwright'
import type { Page } from 'playwright'

/** One line a violation: its rule, and every element that breaks it. */
export async function findBarriers(page: Page): Promise<readonly string[]> {
  if (page.frames().length > 1) throw new Error(`${page.url()} has frames, which this does not look into`)
  const { violations } = await new AxeBuilder({ page })
    .setLegacyMode()
    .options({ resultTypes: ['violations'] })
    .analyze()
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}
