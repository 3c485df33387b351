// SPDX-License-Identifier: EUPL-1.2
// Households: compositions become spells of membership. A composition holds until the next begins; of two with one beginning the later
// entry wins.

export interface Composition {
  index: number;
  validFrom: number;
  members: string[];
}

/** From (included) until (excluded; null while the person still belongs), milliseconds since 1970. */
export interface Spell {
  person: string;
  from: number;
  until: number | null;
}

export function membership(compositions: Composition[]): Spell[] {
  const inForce = new Map<number, Composition>();
  for (const composition of compositions) {
    const earlier = inForce.get(composition.validFrom);
    if (earlier === undefined || earlier.index < composition.index) inForce.set(composition.validFrom, composition);
  }
  const spells: Spell[] = [];
  const since = new Map<string, number>();
  for (const { validFrom, members } of [...inForce.values()].sort((a, b) => a.validFrom - b.validFrom)) {
    for (const [person, from] of [...since]) {
      if (members.includes(person)) continue;
      spells.push({ person, from, until: validFrom });
      since.delete(person);
    }
    for (const person of members) if (!since.has(person)) since.set(person, validFrom);
  }
  for (const [person, from] of since) spells.push({ person, from, until: null });
  return spells;
}

export function belonged(spells: Spell[], person: string, time: number): boolean {
  return spells.some((spell) => spell.person === person && spell.from <= time && (spell.until === null || time < spell.until));
}
