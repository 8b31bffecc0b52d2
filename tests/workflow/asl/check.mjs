// Prints, for each file named, what the AWS language service finds wrong in it: one JSON list of messages.
import fs from "fs";
import service from "amazon-states-language-service";
import { TextDocument } from "vscode-languageserver-textdocument";

const checker = service.getLanguageService({});
const found = [];
for (const file of process.argv.slice(2)) {
  const text = TextDocument.create("file:///machine.asl.json", "asl", 1, fs.readFileSync(file, "utf8"));
  for (const problem of await checker.doValidation(text, checker.parseJSONDocument(text))) {
    found.push(`line ${problem.range.start.line + 1}: ${problem.message}`);
  }
}
console.log(JSON.stringify(found));
