"""xstilts: which English task should I train on before I train on mine and deploy in forty languages?"""

__version__ = "0.1.0"

import warnings

warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm's, in every notebook: bars are not used here
