/**
 * Company rules that make `Authorization: Bearer` Postern's own on every path of every app.
 *
 * A bearer token is judged here, and kept from the app, wherever a rule names services (`policy/service-paths.ts`). In the rules of one app
 * that is what its admin meant; a rule for the whole company without paths takes the header away from every app that has tokens of its
 * own, with no word about it in their rules.
 */

import { listAllConditions, walkCondition } from './condition-tree.ts'
import { type FoundRule, type PolicyParts, reaches, verbOf, whoOf } from './policy-parts.ts'
import { quote } from './problems.ts'
import { partsOf } from './who-schema.ts'

/** Warns of them. Levels make no circle. */
export function checkBearerTokens(policy: PolicyParts): void {
  const namesServices = createLevelIndex(policy)
  for (const found of policy.companyRules) {
    const { apps, mode, paths } = found.rule
    // Whoever lists the apps has looked at them.
    if (paths !== undefined || apps !== undefined || mode === 'report' || verbOf(found.rule) === undefined) continue
    if (!isAboutServices(found, namesServices)) continue
    const reached = policy.apps.filter((app) => reaches(found, app)).length
    if (reached < 2) continue
    found.report.warning(
      found.path,
      `the rule ${quote(found.name)} names services and no \`paths\`: on all ${reached} apps that it reaches, every \`Authorization: Bearer\` is judged here and none reaches the app`,
      { suggestion: 'name the `paths` that services call, or the `apps`' },
    )
  }
}

type LevelIndex = (name: string) => boolean

function isAboutServices({ path, rule }: FoundRule, namesServices: LevelIndex): boolean {
  const who = whoOf(rule)
  if (who !== undefined && [...partsOf(who)].some(({ kind }) => kind === 'services')) return true
  return listAllConditions(rule, path).some((item) => [...walkCondition(item.condition, item.path)].some(isOne(namesServices)))
}

function isOne(namesServices: LevelIndex) {
  return ({ condition }: ReturnType<typeof listAllConditions>[number]): boolean => {
    if (condition.kind === 'level') return namesServices(condition.name)
    return condition.kind === 'subject' && [...partsOf(condition.who)].some(({ kind }) => kind === 'services')
  }
}

/** Of each level it is found out once, for many build on the same. */
function createLevelIndex({ levels }: PolicyParts): LevelIndex {
  const known = new Map<string, boolean>()
  const find: LevelIndex = (name) => {
    const earlier = known.get(name)
    if (earlier !== undefined) return earlier
    const level = levels.get(name)
    const isNaming = level !== undefined && [...walkCondition(level.condition, level.path)].some(isOne(find))
    known.set(name, isNaming)
    return isNaming
  }
  return find
}
