"""The families, one file each. Importing them registers them."""

from genus.models.dequantised import Dequantised
from genus.models.maf import MAF
from genus.models.mixture import Mixture
from genus.models.naive_bayes import NaiveBayes
from genus.models.rnn import RNN
from genus.models.vae import VAE
from genus.models.wgan_gp import WGANGP

__all__ = ["MAF", "RNN", "VAE", "WGANGP", "Dequantised", "Mixture", "NaiveBayes"]
