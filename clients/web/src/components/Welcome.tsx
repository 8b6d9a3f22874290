/** The empty page: what this is, and something to begin with. */

import { Logo } from "@wsserver/shared/components/icons.js";
import { currentModel } from "@wsserver/shared/state/models.js";
import { ask } from "../state/conversation.js";

const QUESTIONS = [
  "What is a violin?",
  "Tell me a story about a fox",
  "Name three birds",
  "Count to one hundred",
];

export function Welcome() {
  const model = currentModel.value;
  return (
    <div class="welcome">
      <Logo size={44} />
      <h1>What would you like to know?</h1>
      {model?.description && <p>{model.description}</p>}
      <ul class="suggestions">
        {QUESTIONS.map((question) => (
          <li key={question}>
            <button type="button" onClick={() => void ask(question)} data-testid="suggestion">
              {question}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
